"""Measures a supernet file, wherever it comes from, on the prepared data of an experiment: `deps evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from dεps.core.console import progress, say, show_table
from dεps.core.device import best_device, set_up
from dεps.core.errors import UserError
from dεps.core.params import selected
from dεps.core.randomness import derive
from dεps.data.splits import Split
from dεps.evaluation.accuracy import EvaluateConfig, check_fit, measured, named_archs
from dεps.evaluation.inputs import load_data, recalibration
from dεps.evaluation.measure import TOGETHER
from dεps.nets.files import load_supernet
from dεps.nets.supernet import Supernet
from dεps.spaces.pareto import mean_pareto_accuracy
from dεps.spaces.space import Arch
from dεps.workspace.stage import Context

SPLITS = ("validation", "test")
SEED = 0


@dataclass(frozen=True)
class Row:
    """One measured arch; accuracies in percent."""

    name: str
    arch: str
    macs: int
    params: int
    top1: float
    #: None of five classes or fewer
    top5: float | None = None


@dataclass(frozen=True)
class Assessment:
    """What was measured, and on which images."""

    supernet: str
    experiment: str
    split: str
    images: int
    recalibration_images: int
    archs: tuple[Row, ...]
    #: in percent; None where other archs than the Pareto points were asked for
    mean_pareto_top1: float | None
    #: whether of the moving averages of the weights
    ema: bool = False

    def to_json(self) -> str:
        """As one JSON object."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def assess(
    path: Path,
    params: dict[str, Any],
    experiment: str | None = None,
    split: str = "validation",
    archs: Sequence[str] = (),
    images: int | None = None,
    ema: bool = False,
) -> Assessment:
    """Measure the top-1 of archs of a supernet file, BN recalibrated, each arch at its own resolution.

    Args:
        path: a supernet file.
        params: content of `params.yaml`.
        experiment: the experiment whose prepared data is used; default: the only one that `params` selects.
        split: one of `SPLITS`.
        archs: texts or names as `SearchSpace.named` reads them; default: those of `named_archs`.
        images: number of random images of the split, the same ones each time; default: all.
        ema: measure the moving averages of its weights.

    Raises `UserError` where the data is not prepared or does not fit the supernet.
    """
    set_up()
    context = Context("evaluate", experiment or _only(params), params=params)
    count = context.section(EvaluateConfig, "evaluate").recalibration_images
    net = load_supernet(path, ema)
    chosen, points = _chosen(net, archs)
    data = load_data(context)
    check_fit(net, data, str(path))
    net.to(best_device())
    seen = _some(getattr(data, split), images)
    calibration = recalibration(context, data, count, SEED)
    rows = []
    portions = [chosen[start : start + TOGETHER] for start in range(0, len(chosen), TOGETHER)]
    for portion in progress(portions, f"evaluate {path.name}", len(portions)):
        found = measured(net, [arch for _, arch in portion], data, {split: seen}, calibration)
        rows += [Row(name, *row.values()) for (name, _), row in zip(portion, found, strict=True)]
    front, mean = rows[:points], None
    if front:
        mean = round(mean_pareto_accuracy([row.macs for row in front], [row.top1 for row in front]), 4)
    counts = len(seen), len(calibration.indices)
    return Assessment(path.as_posix(), context.experiment, split, *counts, tuple(rows), mean, ema)


def _only(params: dict[str, Any]) -> str:
    names = selected(params, "names")
    if len(names) != 1:
        raise UserError(f"--experiment is needed; params.yaml selects {', '.join(names)}")
    return names[0]


def _chosen(net: Supernet, archs: Sequence[str]) -> tuple[list[tuple[str, Arch]], int]:
    """The archs to measure as (name, arch), and how many of the first ones are Pareto points."""
    if archs:
        return [(text, net.choices.named(text, "--arch")) for text in archs], 0
    return list(named_archs(net.choices).items()), len(net.choices.pareto_archs())


def _some(split: Split, images: int | None) -> Split:
    if images is None or images >= len(split):
        return split
    generator = Generator().manual_seed(derive(SEED, "evaluation"))
    return split.part(torch.randperm(len(split), generator=generator)[:images].sort().values)


def _tops(row: Row) -> list[str]:
    return [f"{top:.2f}" for top in (row.top1, row.top5) if top is not None]


def print_assessment(result: Assessment) -> None:
    """Print a table, one row an arch."""
    number = {"justify": "right", "no_wrap": True}
    columns = {"arch": {"overflow": "fold", "style": "cyan"}, "MACs (M)": number, "params (M)": number}
    fives = ["top-5 (%)"] if any(row.top5 is not None for row in result.archs) else []
    rows = [(row.name, f"{row.macs / 1e6:.2f}", f"{row.params / 1e6:.2f}", *_tops(row)) for row in result.archs]
    note = f"BN recalibrated on {result.recalibration_images:,} training images."
    if result.mean_pareto_top1 is not None:
        note = f"Mean Pareto accuracy: {result.mean_pareto_top1:.2f} %. {note}"
    what = f"{result.supernet}{', moving average of the weights,' * result.ema}"
    say(f"{what} on {result.experiment}, {result.images:,} {result.split} images")
    show_table(rows, columns | dict.fromkeys(("top-1 (%)", *fives), number), note=note)
