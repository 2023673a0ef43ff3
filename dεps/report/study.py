"""What figures of a study share: titles, options, and the comparison of two trials that differ in one option.

All accuracies are on validation. Trials have one seed, so a figure shows differences between single runs, and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import columns, matching, records, rows_where
from dεps.report.drawing import SMALL, draw_points, legend_below, pushed_apart, titled_axes, titled_panels
from dεps.report.marks import dots
from dεps.report.published import dataset_of, pareto_points
from dεps.report.results import Results
from dεps.report.style import SOFT, colours, label
from dεps.workspace.identity import FULL_MODEL

#: how figures call options
OPTIONS = {
    "shrink_start": "shrink start",
    "ramp_shape": "ramp shape",
    "ramp_epochs": "ramp (epochs)",
    "epsilon": "ε",
    "temperature": "temperature",
}
#: columns of trials.csv that are no options; all others are, since those that points change are among them
FACTS = {"trial", "point", "state", "val_top1", "val_smallest_top1", "val_largest_top1", "train_tmacs", "own_tmacs"}
FACTS |= {"epochs", "feasible", "front", "best"}
DEPS = colours(["deps"])["deps"]
TOP1 = "top-1 on validation (%)"
#: of the variants that one panel shows
MARKERS = "os^Dv"
#: series of what the paper reports of variants
VARIANTS = "published (±0.05, test)"


def study_title(results: Results, title: str) -> str:
    """The title, and below it the data's name and the number of trials."""
    return f"{title}\n({results.manifest['name']}, {len(results.trials)} trials, 1 seed)"


study_axes = partial(titled_axes, head=study_title)


def study_panels(results: Results, title: str) -> tuple[Figure, list[Axes]]:
    """Two panels below their `study_title`."""
    return titled_panels(study_title(results, title), 2, 1, 5.6)


def complete(results: Results, **values: object) -> pd.DataFrame:
    """The trials that were not pruned, and whose columns hold the given values."""
    return matching(results.trials, state="complete", **values)


def has(trial: Mapping[str, Any], option: str) -> bool:
    """Whether a row of trials.csv has an option at all; else base's value stands there, and decides nothing."""
    constant = trial["ramp_shape"] == "constant"
    none = not constant and trial["ramp_epochs"] == 0
    without = {"ramp_epochs": constant, "temperature": not trial["distill"], "epsilon": none, "ramp_shape": none}
    return not without.get(option, False)


def alike(trial: dict[str, Any], other: dict[str, Any], but: Collection[str]) -> bool:
    """Whether two rows of trials.csv have the same options, but for those named."""
    names = [name for name in trial if name not in FACTS and name not in but]
    return all(trial[name] == other[name] or (pd.isna(trial[name]) and pd.isna(other[name])) for name in names)


def front(results: Results, trial: dict[str, Any]) -> pd.DataFrame:
    """The Pareto points of a trial by ascending MACs: name, macs, val_top1."""
    return matching(results.trial_points, trial=trial["trial"]).sort_values("macs")


def points_of(front: pd.DataFrame) -> pd.DataFrame:
    """Pareto points as dots: what the page names."""
    facts = front.rename(columns={"val_top1": "top1"}).assign(of="validation")
    return columns(facts, *(name for name in ("name", "arch", "macs", "top1", "of") if name in facts))


def trials_of(trials: pd.DataFrame, top1: str) -> pd.DataFrame:
    """Trials as dots: their numbers and options, cost, and the accuracy in column `top1`."""
    facts = trials.rename(columns={top1: "top1", "train_tmacs": "TMACs"}).assign(of="validation")
    return columns(facts, "trial", "point", "TMACs", "top1", "of", *OPTIONS, "distill")


class Variant(NamedTuple):
    """One variant in an ablation: its curve over epochs, its front, how it is called and drawn."""

    name: str
    #: epoch, and the column that is shown
    curve: pd.DataFrame
    #: macs, val_top1
    front: pd.DataFrame
    style: dict[str, Any]


def draw_ablation(
    results: Results,
    title: str,
    option: str,
    off: object,
    what: str,
    column: str,
    curve: str,
    published: Sequence[str] = (),
    others: Sequence[Variant] = (),
) -> Figure:
    """Two trials of the study that differ in one option only: curves over epochs above, fronts below.

    Args:
        option, off: the option's key, and its value that switches it off.
        what: the option, in "with …" and "without …".
        column, curve: of the records that are drawn above, and what it is the accuracy of.
        published: the paper's variants that are drawn with the fronts.
        others: variants beside these two.
    """
    figure, (upper, lower) = study_panels(results, title)
    pairs = _pairs(results, option, off)
    if not pairs:
        for axes in (upper, lower):
            axes.text(0.5, 0.5, "the study has no such pair of trials", ha="center", transform=axes.transAxes)
        return figure
    # The pair of the earliest start: there is most to see.
    with_it, without = min(pairs, key=lambda pair: pair[0]["shrink_start"])
    variants = [
        _variant(results, with_it, f"with {what}", column, color=DEPS, marker="o"),
        _variant(results, without, f"without {what}", column, color=SOFT, linestyle="--", marker="s"),
        *others,
    ]
    for one in variants:
        look: dict[str, Any] = {"label": one.name, "markersize": 4, **one.style}
        (curve_line,) = upper.plot(one.curve.epoch, one.curve[column], **look)
        facts = {"arch": curve, "epoch": one.curve.epoch, "top1": one.curve[column], "of": "validation"}
        dots(curve_line, one.name, pd.DataFrame(facts))
        (line,) = lower.plot(one.front.macs / 1e6, one.front.val_top1, **look)
        dots(line, one.name, points_of(one.front))
    _name_gains(lower, variants[0].front, variants[1].front)
    start = round(with_it["shrink_start"] * results.params["train"]["epochs"])
    upper.axvline(start, color=SOFT, linewidth=0.8, linestyle=":")
    text = f"epoch (dotted: shrink start, {with_it['shrink_start']:.0%})"
    upper.set(xlabel=text, ylabel=f"{curve}, validation (%)")
    upper.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = draw_published_variants(lower, results, published)
    legend_below(figure, [*upper.get_legend_handles_labels()[0], *handles], columns=2)
    lower.set(xlabel="MACs (millions); numbers: gain in points", ylabel=TOP1)
    return figure


def _pairs(results: Results, option: str, off: object) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Given points that differ in `option` only: (as in base, off)."""
    points = [trial for trial in records(complete(results)) if trial["point"] != ""]
    pairs = []
    for without in points:
        if without[option] == off:
            same = [one for one in points if one[option] != off and alike(one, without, [option])]
            pairs += [(one, without) for one in same[:1]]
    return pairs


def _variant(results: Results, trial: dict[str, Any], name: str, column: str, **style: Any) -> Variant:
    """A trial, its curve with the trunk's before it."""
    own = matching(results.trial_curves, trial=trial["trial"])
    trunk = matching(results.history, method=FULL_MODEL, seed=results.params["tuning"]["seed"])
    whole = pd.concat([rows_where(trunk, trunk.epoch < own.epoch.min()), own]).dropna(subset=[column])
    return Variant(name, columns(whole, "epoch", column), front(results, trial), style)


def _name_gains(axes: Axes, with_it: pd.DataFrame, without: pd.DataFrame) -> None:
    """Write what each point gains along the upper edge, in points of top-1."""
    both = with_it.merge(without, on=["name", "macs"], suffixes=("", "_off"))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.2 * (high - low))
    for right, gain in zip(pushed_apart(both.macs.tolist()), both.val_top1 - both.val_top1_off, strict=True):
        place = (right, axes.get_ylim()[1])
        axes.annotate(f"{gain:+.1f}", place, rotation=90, fontsize=SMALL, color=SOFT, ha="center", va="top")


def draw_published_variants(axes: Axes, results: Results, names: Sequence[str]) -> list[Line2D]:
    """Draw the paper's fronts of these variants where the data and the space are the paper's; their legend's entry."""
    points = pareto_points(dataset_of(results.params) or "")
    there = [name for name in names if name in points]
    if len(there) < 2:  # the variants were published for one data set only
        return []
    style: dict[str, Any] = {"linestyle": ":", "linewidth": 0.9, "markerfacecolor": "none", "markersize": 4}
    strengths = np.linspace(0.45, 1.0, len(there))
    for name, strength, marker in zip(there, strengths, MARKERS, strict=False):
        colour = SOFT if name.endswith("epsilon") else DEPS
        draw_points(axes, points[name], VARIANTS, label(name), color=colour, alpha=strength, marker=marker, **style)
    return [Line2D([], [], color=SOFT, marker="o", label=VARIANTS, **style)]
