"""Ablations of DεpS from the study's given points: shrink start, ε ramp, in-place distillation.

In the paper's form: fronts of the variants, the full model's dip at shrink start without a ramp, and distillation from
a partially trained full model against none and against distillation from scratch. All is on validation, of one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.report.published import dataset_of, pareto_points
from dεps.report.results import Results
from dεps.report.style import FULL, SOFT, colours, label
from dεps.report.tuning import DEPS, OPTIONS, SIZES, TOP1, complete, study_figure
from dεps.workspace.identity import FULL_MODEL

#: the method that distils in place from the first step
FROM_SCRATCH = "bignas"
_MARKERS = "os^Dv"


class _Line(NamedTuple):
    """One variant: its curve over epochs, its front, how it is called and drawn."""

    name: str
    curve: pd.DataFrame
    front: pd.DataFrame
    style: dict[str, object]


def shrink_start(results: Results) -> Figure:
    """The preset at several shrink starts: their fronts, and accuracy over shrink start with other trials as dots."""
    figure, (left, right) = study_figure(results, "When to start shrinking", 2, width=7.6, height=3.4)
    trials, starts = complete(results), _along_start(results)
    strengths = np.linspace(0.45, 1.0, max(1, len(starts)))
    for number, (_, trial) in enumerate(starts.iterrows()):
        points, marker = _front(results, trial), _MARKERS[number % len(_MARKERS)]
        style = {"color": DEPS, "alpha": strengths[number], "marker": marker, "label": f"{trial.shrink_start:.0%}"}
        left.plot(points.macs / 1e6, points.val_top1, **style)
    handles = left.get_legend_handles_labels()[0]
    handles += _published(left, results, ["deps_start_25", "deps", "deps_start_75"])
    left.legend(handles=handles, title="shrink start", loc="lower right", fontsize=8, title_fontsize=8)
    left.set(xlabel="MACs (millions)", ylabel=TOP1)
    others = trials[~trials.trial.isin(starts.trial)]
    looks = ((FULL, "s", "-"), (DEPS, "o", "-"), (DEPS, "^", ":"))
    for (column, name), (colour, marker, line) in zip(SIZES.items(), looks, strict=True):
        right.plot(100 * others.shrink_start, others[column], marker, color=colour, alpha=0.35, markersize=4)
        right.plot(100 * starts.shrink_start, starts[column], line, marker=marker, color=colour, label=name)
    handles = right.get_legend_handles_labels()[0]
    if len(others):
        handles.append(
            Line2D([], [], linestyle="", marker="o", color=SOFT, alpha=0.5, markersize=4, label="other trials")
        )
    right.legend(handles=handles, fontsize=8)
    right.set(xlabel="shrink start (% of all epochs)", ylabel=TOP1)
    right.set_xticks(100 * np.sort(trials.shrink_start.unique()))
    return figure


def _along_start(results: Results) -> pd.DataFrame:
    """The preset at each shrink start that the study was given."""
    trials = complete(results)
    names = ["base", *(name for name in trials.point.unique() if name.startswith("shrink_start ") and "," not in name)]
    return trials[trials.point.isin(names)].sort_values("shrink_start")


def ramp(results: Results) -> Figure:
    """With and without the ε ramp: the full model's accuracy over epochs, and the fronts."""
    title, column = "The ε ramp", "val/largest_top1"
    return _ablation(results, title, "ramp_epochs", 0.0, "ramp", column, "full model", ["deps", "deps_no_epsilon"])


def distillation(results: Results) -> Figure:
    """With and without in-place distillation after warm-up, and distilled from the first step."""
    title, column = "In-place distillation", "val/smallest_top1"
    return _ablation(results, title, "distill", False, "distillation", column, "smallest arch")


def _ablation(
    results: Results,
    title: str,
    option: str,
    off: object,
    what: str,
    column: str,
    curve: str,
    published: Sequence[str] = (),
) -> Figure:
    figure, (left, right) = study_figure(results, title, 2, width=7.6, height=3.4)
    pairs = _pairs(results, option, off)
    if not pairs:
        for axes in (left, right):
            axes.text(0.5, 0.5, "the study has no such pair of trials", ha="center", transform=axes.transAxes)
        return figure
    # The pair of the earliest start: there is most to see.
    with_it, without = min(pairs, key=lambda pair: pair[0].shrink_start)
    lines = [
        _line(results, with_it, f"with {what}", column, color=DEPS, marker="o"),
        _line(results, without, f"without {what}", column, color=SOFT, linestyle="--", marker="s"),
    ]
    if option == "distill" and (scratch := _from_scratch(results, column)):
        lines.append(scratch)
    for line in lines:
        left.plot(line.curve.epoch, line.curve[column], label=line.name, markersize=4, **line.style)
        right.plot(line.front.macs / 1e6, line.front.val_top1, label=line.name, markersize=4, **line.style)
    _name_gains(right, lines[0].front, lines[1].front)
    start = round(with_it.shrink_start * results.params["train"]["epochs"])
    left.axvline(start, color=SOFT, linewidth=0.8, linestyle=":")
    left.set(xlabel=f"epoch (dotted: shrink start, {with_it.shrink_start:.0%})", ylabel=f"{curve}, validation (%)")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(fontsize=8)
    handles = _published(right, results, published)
    if handles:
        right.legend(handles=handles, fontsize=8)
    right.set(xlabel="MACs (millions); numbers: gain in points", ylabel=TOP1)
    return figure


def _pairs(results: Results, option: str, off: object) -> list[tuple[pd.Series, pd.Series]]:
    """Given points that differ in `option` only: (as in base, off)."""
    points = complete(results)
    points = points[points.point != ""]
    keys = [key for key in [*OPTIONS, "distill"] if key != option]
    pairs = []
    for _, without in points[points[option] == off].iterrows():
        same = points[(points[option] != off) & (points[keys] == without[keys]).all(axis=1)]
        if len(same):
            pairs.append((same.iloc[0], without))
    return pairs


def _line(results: Results, trial: pd.Series, name: str, column: str, **style: object) -> _Line:
    """A trial's curve with the trunk's before it, and its front."""
    own = results.trial_curves[results.trial_curves.trial == trial.trial]
    history = results.history
    trunk = history[(history.method == FULL_MODEL) & (history.seed == results.params["tuning"]["seed"])]
    whole = pd.concat([trunk[trunk.epoch < own.epoch.min()], own])
    return _Line(name, whole.dropna(subset=[column])[["epoch", column]], _front(results, trial), style)


def _from_scratch(results: Results, column: str) -> _Line | None:
    """The method that distils from the first step, where the study's seed of it was trained."""
    seed = results.params["tuning"]["seed"]
    if FROM_SCRATCH not in results.methods or seed not in results.seeds:
        return None
    own = results.history[(results.history.method == FROM_SCRATCH) & (results.history.seed == seed)]
    points = results.pareto[(results.pareto.method == FROM_SCRATCH) & (results.pareto.seed == seed)]
    style = {"color": colours([FROM_SCRATCH])[FROM_SCRATCH], "linestyle": "-.", "marker": "^"}
    name = f"from scratch, as {label(FROM_SCRATCH)}"
    return _Line(name, own.dropna(subset=[column])[["epoch", column]], points.sort_values("macs"), style)


def _front(results: Results, trial: pd.Series) -> pd.DataFrame:
    return results.trial_points[results.trial_points.trial == trial.trial].sort_values("macs")


def _name_gains(axes: Axes, with_it: pd.DataFrame, without: pd.DataFrame) -> None:
    """What each point gains, along the upper edge."""
    both = with_it.merge(without, on=["name", "macs"], suffixes=("", "_off"))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.2 * (high - low))
    gap, right = 0.035 * (both.macs.max() - both.macs.min()) / 1e6, float("-inf")
    for _, point in both.iterrows():
        right = max(point.macs / 1e6, right + gap)
        gain, place = f"{point.val_top1 - point.val_top1_off:+.1f}", (right, axes.get_ylim()[1])
        axes.annotate(gain, place, rotation=90, fontsize=7, color=SOFT, ha="center", va="top")


def _published(axes: Axes, results: Results, names: Sequence[str]) -> list[Line2D]:
    """Draw the paper's fronts of these variants where the data and the space are the paper's; their legend's entry."""
    points = pareto_points(dataset_of(results.params) or "")
    there = [name for name in names if name in points]
    if len(there) < 2:  # the variants were published for one data set only
        return []
    style = {"linestyle": ":", "linewidth": 0.9, "markerfacecolor": "none", "markersize": 4}
    strengths = np.linspace(0.45, 1.0, len(there))
    for number, name in enumerate(there):
        macs, top1 = [point.macs / 1e6 for point in points[name]], [point.top1 for point in points[name]]
        colour = SOFT if name.endswith("epsilon") else DEPS
        axes.plot(macs, top1, color=colour, alpha=strengths[number], marker=_MARKERS[number], **style)
    return [Line2D([], [], color=SOFT, marker="o", label="published (±0.05, test)", **style)]
