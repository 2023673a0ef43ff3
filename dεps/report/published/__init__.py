"""Reads what the papers report from the files beside this module; README.md says where each is from.

Accuracies were read off plots: ±0.05 points.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dεps.core.tables import columns, matching

FOLDER = Path(__file__).parent
#: search space of each data set's published results
SPACES = {"cifar10": "mbv3_32", "cifar100": "mbv3_32", "imagenet100": "mbv3_224", "imagenet1k": "mbv3_224"}
#: data set and search space of the published medians of random archs
MEDIANS = ("cifar100", "mbv3_32_rss")
#: data set whose training cost was published
COST_DATASET = "imagenet1k"


class Point(NamedTuple):
    """An arch, or the median of the random archs of one bucket: MACs, and top-1 on test in percent (±0.05)."""

    macs: float
    top1: float
    #: of a bucket: empty
    arch: str = ""


@cache
def pareto_points(dataset: str) -> Mapping[str, tuple[Point, ...]]:
    """Pareto points by method, by ascending MACs; empty for a data set without published results."""
    own = matching(pd.read_csv(FOLDER / "pareto_points.csv"), dataset=dataset).sort_values("macs_m", kind="stable")
    return _by_method(own.assign(macs=own.macs_m * 1e6))


@cache
def gpu_hours() -> Mapping[str, float]:
    """GPU-hours of training on ImageNet-1k, by method."""
    return pd.read_csv(FOLDER / "training_cost.csv", index_col="method").gpu_hours.to_dict()


@cache
def rss_medians() -> Mapping[str, tuple[Point, ...]]:
    """Medians of random archs on CIFAR-100 by method, by ascending MACs (RSS, arXiv 2204.09210)."""
    table = pd.read_csv(FOLDER / "rss_cifar100_median.csv")
    return _by_method(table.assign(macs=table.macs_m_bucket * 1e6, top1=table.median_top1, arch=""))


def _by_method(table: pd.DataFrame) -> dict[str, tuple[Point, ...]]:
    groups = columns(table, "method", "macs", "top1", "arch").groupby("method", sort=False)
    return {str(method): tuple(Point(*row[1:]) for row in own.itertuples(index=False)) for method, own in groups}


def medians_of(experiment: Mapping[str, Any]) -> Mapping[str, tuple[Point, ...]]:
    """`rss_medians` where an experiment has their data and search space, else none."""
    return rss_medians() if (_data(experiment), experiment["space"].get("name", "")) == MEDIANS else {}


def _data(experiment: Mapping[str, Any]) -> str:
    return str(experiment["dataset"].get("name", "")).lower().replace("-", "").replace("_", "")


def dataset_of(experiment: Mapping[str, Any]) -> str | None:
    """Published data set that an experiment reproduces; None where data or search space are not the paper's."""
    name = _data(experiment)
    # Fixed kernels, as in the published runs, or all: what is reported has the largest kernel either way.
    return name if name in SPACES and experiment["space"].get("name", "").removesuffix("_k7") == SPACES[name] else None
