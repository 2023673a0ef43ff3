"""Reads what the papers report from the files beside this module; README.md says where each is from.

Accuracies were read off plots: ±0.05 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dεps.core.tables import matching, records
from dεps.spaces.pareto import mean_pareto_accuracy

FOLDER = Path(__file__).parent
#: search space of each data set's published results
SPACES = {"cifar10": "mbv3_32", "cifar100": "mbv3_32", "imagenet100": "mbv3_224", "imagenet1k": "mbv3_224"}
#: data set and search space of the published medians of random archs
MEDIANS = ("cifar100", "mbv3_32_rss")
#: data set whose training cost was published
COST_DATASET = "imagenet1k"


class Point(NamedTuple):
    """One Pareto arch of a method's supernet: MACs, and top-1 on test in percent (±0.05)."""

    arch: str
    macs: float
    top1: float


class TrainingCost(NamedTuple):
    """Training on ImageNet-1k; accuracies in percent, None where the paper gives none."""

    epochs: int
    gpu_minutes_per_epoch: float
    gpu_hours: float
    dollars: float
    mean_pareto_top1: float | None
    smallest_top1: float | None
    largest_top1: float | None


class Median(NamedTuple):
    """Median top-1 in percent of the random archs of one bucket, named by its MACs."""

    macs: float
    top1: float


@cache
def pareto_points(dataset: str) -> Mapping[str, tuple[Point, ...]]:
    """Pareto points by method, by ascending MACs; empty for a data set without published results."""
    own = matching(pd.read_csv(FOLDER / "pareto_points.csv"), dataset=dataset).sort_values("macs_m", kind="stable")
    found: dict[str, tuple[Point, ...]] = {}
    for row in records(own):
        point = Point(row["arch"], row["macs_m"] * 1e6, row["top1"])
        found[row["method"]] = (*found.get(row["method"], ()), point)
    return found


@cache
def training_costs() -> Mapping[str, TrainingCost]:
    """Training cost on ImageNet-1k, by method."""
    found: dict[str, TrainingCost] = {}
    for row in records(pd.read_csv(FOLDER / "training_cost.csv")):
        method = row.pop("method")
        values: dict[str, Any] = {key: None if pd.isna(value) else value for key, value in row.items()}
        found[method] = TrainingCost(**values)
    return found


@cache
def rss_medians() -> Mapping[str, tuple[Median, ...]]:
    """Medians of random archs on CIFAR-100 by method, by ascending MACs (RSS, arXiv 2204.09210)."""
    found: dict[str, tuple[Median, ...]] = {}
    for row in records(pd.read_csv(FOLDER / "rss_cifar100_median.csv")):
        median = Median(row["macs_m_bucket"] * 1e6, row["median_top1"])
        found[row["method"]] = (*found.get(row["method"], ()), median)
    return found


def medians_of(experiment: Mapping[str, Any]) -> Mapping[str, tuple[Median, ...]]:
    """`rss_medians` where an experiment has their data and search space, else none."""
    return rss_medians() if (_data(experiment), experiment["space"].get("name", "")) == MEDIANS else {}


def _data(experiment: Mapping[str, Any]) -> str:
    return str(experiment["dataset"].get("name", "")).lower().replace("-", "").replace("_", "")


def dataset_of(experiment: Mapping[str, Any]) -> str | None:
    """Published data set that an experiment reproduces; None where data or search space are not the paper's."""
    name = _data(experiment)
    # Fixed kernels, as in the published runs, or all: what is reported has the largest kernel either way.
    return name if name in SPACES and experiment["space"].get("name", "").removesuffix("_k7") == SPACES[name] else None


def mean_pareto_top1(dataset: str, method: str) -> float:
    """Mean Pareto accuracy over a method's published points, in percent."""
    points = pareto_points(dataset)[method]
    return mean_pareto_accuracy([point.macs for point in points], [point.top1 for point in points])
