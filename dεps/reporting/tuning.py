"""Figures of a study: what its trials say about shrink timing and the ε ramp. All accuracies are on validation.

Trials have one seed, so a figure shows differences between single runs; each says so.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.identity import FULL_MODEL
from dεps.reporting.figures import FigureKind
from dεps.reporting.results import Results
from dεps.reporting.style import colours, label

#: how figures call options
OPTIONS = {
    "shrink_start": "shrink start",
    "ramp_shape": "ramp shape",
    "ramp_epochs": "ramp (epochs)",
    "epsilon": "ε",
    "temperature": "temperature",
}
#: columns of a trial, darkest first
SIZES = {"val_largest_top1": "largest", "val_top1": "mean Pareto", "val_smallest_top1": "smallest"}
_DEPS, _GREY, _LIGHT, _OTHER = colours(["deps"])["deps"], "#444444", "0.72", "#0072B2"
_TOP1 = "top-1 on validation (%)"


def _figure(
    results: Results, title: str, columns: int = 1, share: bool = False, **size: float
) -> tuple[Figure, list[Axes]]:
    figure = Figure(**({"figsize": (size["width"], size["height"])} if size else {}))
    axes = figure.subplots(1, columns, squeeze=False, sharey=share)[0]
    study = f"{results.manifest['name']}, {len(results.trials)} trials, 1 seed"
    if columns == 1:
        axes[0].set_title(f"{title} ({study})", loc="left")
    else:
        figure.suptitle(f"{title} ({study})", x=0.01, ha="left", fontsize=10)
    return figure, list(axes)


def _complete(results: Results) -> pd.DataFrame:
    return results.trials[results.trials.state == "complete"]


def _point(results: Results, name: str) -> pd.DataFrame:
    own = _complete(results)
    return own[own.point == name]


def front(results: Results) -> Figure:
    """Mean Pareto accuracy over training cost of all trials, with the default and the other methods marked."""
    figure, (axes,) = _figure(results, "Accuracy against training cost")
    trials = _complete(results)
    axes.plot(trials.train_tmacs, trials.val_top1, "o", color=_LIGHT, label="trial", markersize=4.5)
    best = trials[trials.front].sort_values("train_tmacs")
    axes.plot(best.train_tmacs, best.val_top1, "o-", color=_DEPS, label="front of the trials", linewidth=1.2)
    default = _point(results, "base")
    star = {"linestyle": "", "marker": "*", "markersize": 12, "color": _GREY}
    axes.plot(default.train_tmacs, default.val_top1, **star, label="DεpS as preset")
    chosen = trials[trials.best]
    ring = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": _DEPS}
    axes.plot(chosen.train_tmacs, chosen.val_top1, **ring, label="best.yaml")
    seed = results.params["tuning"]["seed"]
    for method in results.methods:
        own = results.metrics[(results.metrics.method == method) & (results.metrics.seed == seed)]
        if method != "deps" and len(own) and "pareto/mean_val_top1" in own:
            colour = colours([method])[method]
            axes.plot(
                own["cost/train_tmacs"], own["pareto/mean_val_top1"], "D", color=colour, label=label(method), zorder=3
            )
    axes.set(xlabel="training cost (10¹² MACs)", ylabel=f"mean Pareto {_TOP1}")
    axes.legend()
    return figure


def shrink_start(results: Results) -> Figure:
    """Accuracy over shrink start: the preset at several starts as lines, other trials as dots."""
    figure, (axes,) = _figure(results, "When to start shrinking")
    trials = _complete(results)
    starts = _along_start(results)
    shades = {"val_largest_top1": _GREY, "val_top1": _DEPS, "val_smallest_top1": _OTHER}
    others = trials[~trials.trial.isin(starts.trial)]
    for column, name in SIZES.items():
        axes.plot(100 * others.shrink_start, others[column], "o", color=shades[column], alpha=0.3, markersize=4)
        axes.plot(100 * starts.shrink_start, starts[column], "o-", color=shades[column], label=name)
    dot = Line2D([], [], linestyle="", marker="o", color="0.4", alpha=0.4, markersize=4, label="other trials")
    axes.legend(handles=[*axes.get_legend_handles_labels()[0], dot], ncols=2)
    axes.set(xlabel="shrink start (% of all epochs)", ylabel=_TOP1)
    axes.set_xticks(100 * np.sort(trials.shrink_start.unique()))
    return figure


def _along_start(results: Results) -> pd.DataFrame:
    """The preset at each shrink start that the study was given."""
    trials = _complete(results)
    names = ["base", *(name for name in trials.point.unique() if name.startswith("shrink_start ") and "," not in name)]
    return trials[trials.point.isin(names)].sort_values("shrink_start")


def _pairs(results: Results, option: str, off: object) -> list[tuple[pd.Series, pd.Series]]:
    """Given points that differ in `option` only: (as in base, off)."""
    points = _complete(results)
    points = points[points.point != ""]
    keys = [key for key in [*OPTIONS, "distill"] if key != option]
    pairs = []
    for _, without in points[points[option] == off].iterrows():
        same = points[(points[option] != off) & (points[keys] == without[keys]).all(axis=1)]
        if len(same):
            pairs.append((same.iloc[0], without))
    return pairs


def ramp(results: Results) -> Figure:
    """With and without the ε ramp: the full model's accuracy over epochs, and what it is worth to each subnet."""
    return _ablation(results, "The ε ramp", "ramp_epochs", 0.0, "without ramp", "val/largest_top1", "full model")


def distillation(results: Results) -> Figure:
    """With and without in-place distillation from the partially trained full model."""
    title, column = "In-place distillation after warm-up", "val/smallest_top1"
    return _ablation(results, title, "distill", False, "without distillation", column, "smallest subnet")


def _ablation(
    results: Results, title: str, option: str, off: object, without_name: str, column: str, curve: str
) -> Figure:
    figure, (left, right) = _figure(results, title, 2, width=7.6, height=3.3)
    pairs = _pairs(results, option, off)
    with_name = without_name.replace("without", "with")
    if not pairs:
        for axes in (left, right):
            axes.text(0.5, 0.5, "the study has no such pair of trials", ha="center", transform=axes.transAxes)
        return figure
    # The curve of the earliest start: there is most to see.
    shown = min(pairs, key=lambda pair: pair[0].shrink_start)
    for trial, name, style in ((shown[0], with_name, "-"), (shown[1], without_name, "--")):
        points = _whole_curve(results, trial, column)
        left.plot(points.epoch, points[column], style, marker=".", color=_DEPS if style == "-" else _GREY, label=name)
    start = round(shown[0].shrink_start * results.params["train"]["epochs"])
    left.axvline(start, color="0.6", linewidth=0.8, linestyle=":")
    left.set(xlabel="epoch (dotted: shrink start)", ylabel=f"{curve}, validation (%)")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    names = list(SIZES.values())
    width = 0.8 / len(pairs)
    for number, (with_it, without) in enumerate(pairs):
        gains = [with_it[key] - without[key] for key in SIZES]
        at = np.arange(len(names)) + (number - (len(pairs) - 1) / 2) * width
        bars = right.bar(at, gains, width * 0.92, color=_DEPS, alpha=1 - 0.3 * number)
        bars.set_label(f"start {with_it.shrink_start:.0%}")
        right.bar_label(bars, fmt="%+.2f", fontsize=7, padding=2)
    right.axhline(0, color="0.3", linewidth=0.8)
    right.set_xticks(range(len(names)), names)
    right.margins(y=0.25)
    right.grid(axis="x", visible=False)
    right.set_ylabel(f"gain {with_name} (points)")
    if len(pairs) > 1:
        right.legend(fontsize=7)
    else:
        right.set_title(f"shrink start {shown[0].shrink_start:.0%}", fontsize=8)
    return figure


def _whole_curve(results: Results, trial: pd.Series, column: str) -> pd.DataFrame:
    """A trial's curve with the trunk's before it."""
    own = results.trial_curves[results.trial_curves.trial == trial.trial]
    history = results.history
    trunk = history[(history.method == FULL_MODEL) & (history.seed == results.params["tuning"]["seed"])]
    whole = pd.concat([trunk[trunk.epoch < own.epoch.min()], own])
    return whole.dropna(subset=[column])[["epoch", column]]


def importance(results: Results) -> Figure:
    """How much of the variance between trials each option explains."""
    figure, (axes,) = _figure(results, "What matters")
    table = results.importance
    if not len(table):
        axes.text(0.5, 0.5, "too few complete trials to tell", ha="center", transform=axes.transAxes)
        return figure
    table = table.sort_values("accuracy")
    rows = np.arange(len(table))
    axes.barh(rows + 0.2, table.accuracy, 0.38, color=_DEPS, label="mean Pareto accuracy")
    axes.barh(rows - 0.2, table.cost, 0.38, color=_LIGHT, label="training cost")
    axes.set_yticks(rows, [OPTIONS[name] for name in table.option])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"share of the variance (fANOVA; {len(_complete(results))} complete trials)")
    axes.legend(loc="lower right")
    return figure


def slices(results: Results) -> Figure:
    """Accuracy over each searched option, all trials."""
    trials = _complete(results)
    names = [name for name in OPTIONS if trials[name].nunique() > 1] or ["shrink_start"]
    width = max(3.4, 1.9 * len(names))
    figure, every = _figure(results, "Accuracy by option", len(names), share=True, width=width, height=2.9)
    for axes, name in zip(every, names, strict=True):
        values, ticks = trials[name], None
        if name == "ramp_shape":
            ticks = list(dict.fromkeys(values))
            values = values.map(ticks.index)
        points = axes.scatter(
            values, trials.val_top1, c=trials.trial, cmap="viridis", s=18, edgecolors="white", linewidths=0.3
        )
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks, rotation=35, ha="right", fontsize=7)
            axes.margins(x=0.15)
        if name == "temperature":
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(OPTIONS[name])
    every[0].set_ylabel("mean Pareto top-1 (%)")
    figure.colorbar(points, ax=every, label="trial", pad=0.01, aspect=30).locator = MaxNLocator(integer=True)
    return figure


def intermediate(results: Results) -> Figure:
    """Validation accuracy of each trial while it trains; pruned ones end in a cross."""
    figure, (axes,) = _figure(results, "Trials while they train")
    pruned = set(results.trials[results.trials.state == "pruned"].trial)
    best = set(results.trials[results.trials.best].trial)
    curves = results.trial_curves.dropna(subset=["val/smallest_top1"])
    for number, own in curves.groupby("trial"):
        colour = _DEPS if number in best else _LIGHT
        width = 1.8 if number in best else 1.0
        axes.plot(
            own.epoch,
            own["val/smallest_top1"],
            "o-",
            markersize=3,
            color=colour,
            linewidth=width,
            zorder=2 + (number in best),
        )
        if number in pruned:
            axes.plot(own.epoch.iloc[-1], own["val/smallest_top1"].iloc[-1], "x", color=_GREY, zorder=4)
    handles = [Line2D([], [], color=_DEPS, label="best.yaml"), Line2D([], [], color=_LIGHT, label="other trials")]
    if pruned:
        handles.append(Line2D([], [], linestyle="", marker="x", color=_GREY, label=f"pruned ({len(pruned)})"))
    axes.legend(handles=handles, loc="lower right")
    axes.set(xlabel="epoch", ylabel=f"smallest subnet, {_TOP1}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


FIGURES = [
    FigureKind("tuning_front", "Study: accuracy and cost", "Accuracy over training cost of all trials", front),
    FigureKind("tuning_start", "Study: shrink start", "Accuracy over shrink start of all trials", shrink_start),
    FigureKind("tuning_ramp", "Study: with and without ε ramp", "Curves and differences with and without ramp", ramp),
    FigureKind(
        "tuning_distillation",
        "Study: with and without in-place distillation",
        "Curves and differences with and without distillation",
        distillation,
    ),
    FigureKind("tuning_importance", "Study: importance", "Bars of the variance that each option explains", importance),
    FigureKind("tuning_slices", "Study: slices", "Accuracy over each option, one panel an option", slices),
    FigureKind("tuning_intermediate", "Study: trials", "Accuracy of each trial over epochs", intermediate),
]
