"""Figures of a study: what its trials say about shrink timing and the ε ramp. All accuracies are on validation.

Trials have one seed, so a figure shows differences between single runs; each says so.
"""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.report.drawing import BESIDE, titled_panels
from dεps.report.results import Results
from dεps.report.style import FAINT, FULL, INK, colours, label

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
DEPS = colours(["deps"])["deps"]
TOP1 = "top-1 on validation (%)"
#: first to last trial; without viridis' ends, one of which is lost on a dark ground and one on a light
_ORDER = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.25, 0.92, 256)))


def study_figure(
    results: Results, title: str, columns: int = 1, share: bool = False, **size: float
) -> tuple[Figure, list[Axes]]:
    """A row of panels whose title says how many trials the study has."""
    title = f"{title} ({results.manifest['name']}, {len(results.trials)} trials, 1 seed)"
    if columns > 1:
        return titled_panels(title, 1, columns, size["width"], size["height"], sharey=share)
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    return figure, [axes]


def complete(results: Results) -> pd.DataFrame:
    """The trials that were not pruned."""
    return results.trials[results.trials.state == "complete"]


def _point(results: Results, name: str) -> pd.DataFrame:
    own = complete(results)
    return own[own.point == name]


def front(results: Results) -> Figure:
    """Mean Pareto accuracy over training cost of all trials, with the default and the other methods marked."""
    figure, (axes,) = study_figure(results, "Accuracy against training cost")
    trials = complete(results)
    axes.plot(trials.train_tmacs, trials.val_top1, "o", color=FAINT, label="trial", markersize=4.5)
    best = trials[trials.front].sort_values("train_tmacs")
    axes.plot(best.train_tmacs, best.val_top1, "o-", color=DEPS, label="front of the trials", linewidth=1.2)
    default = _point(results, "base")
    star = {"linestyle": "", "marker": "*", "markersize": 12, "color": FULL}
    axes.plot(default.train_tmacs, default.val_top1, **star, label="DεpS as preset")
    chosen = trials[trials.best]
    ring = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": DEPS}
    axes.plot(chosen.train_tmacs, chosen.val_top1, **ring, label="best.yaml")
    seed = results.params["tuning"]["seed"]
    for method in results.methods:
        own = results.metrics[(results.metrics.method == method) & (results.metrics.seed == seed)]
        if method != "deps" and len(own) and "pareto/mean_val_top1" in own:
            colour = colours([method])[method]
            axes.plot(
                own["cost/train_tmacs"], own["pareto/mean_val_top1"], "D", color=colour, label=label(method), zorder=3
            )
    axes.set(xlabel="training cost (10¹² MACs)", ylabel=f"mean Pareto {TOP1}")
    axes.legend(**BESIDE)
    return figure


def importance(results: Results) -> Figure:
    """How much of the variance between trials each option explains."""
    figure, (axes,) = study_figure(results, "What matters")
    table = results.importance
    if not len(table):
        axes.text(0.5, 0.5, "too few complete trials to tell", ha="center", transform=axes.transAxes)
        return figure
    table = table.sort_values("accuracy")
    rows = np.arange(len(table))
    axes.barh(rows + 0.2, table.accuracy, 0.38, color=DEPS, label="mean Pareto accuracy")
    axes.barh(rows - 0.2, table.cost, 0.38, color=FAINT, label="training cost")
    axes.set_yticks(rows, [OPTIONS[name] for name in table.option])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"share of the variance (fANOVA; {len(complete(results))} complete trials)")
    axes.legend(loc="lower right")
    return figure


def slices(results: Results) -> Figure:
    """Accuracy over each searched option, all trials."""
    trials = complete(results)
    names = [name for name in OPTIONS if trials[name].nunique() > 1] or ["shrink_start"]
    width = max(3.4, 1.75 * len(names))
    figure, every = study_figure(results, "Accuracy by option", len(names), share=True, width=width, height=2.9)
    for axes, name in zip(every, names, strict=True):
        values, ticks = trials[name], None
        if name == "ramp_shape":
            ticks = list(dict.fromkeys(values))
            values = values.map(ticks.index)
        points = axes.scatter(
            values, trials.val_top1, c=trials.trial, cmap=_ORDER, s=22, edgecolors=INK, linewidths=0.3
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
    figure, (axes,) = study_figure(results, "Trials while they train")
    pruned = set(results.trials[results.trials.state == "pruned"].trial)
    best = set(results.trials[results.trials.best].trial)
    curves = results.trial_curves.dropna(subset=["val/smallest_top1"])
    for number, own in curves.groupby("trial"):
        colour = DEPS if number in best else FAINT
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
            axes.plot(own.epoch.iloc[-1], own["val/smallest_top1"].iloc[-1], "x", color=FULL, zorder=4)
    handles = [Line2D([], [], color=DEPS, label="best.yaml"), Line2D([], [], color=FAINT, label="other trials")]
    if pruned:
        handles.append(Line2D([], [], linestyle="", marker="x", color=FULL, label=f"pruned ({len(pruned)})"))
    axes.legend(handles=handles, **BESIDE)
    axes.set(xlabel="epoch", ylabel=f"smallest arch, {TOP1}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
