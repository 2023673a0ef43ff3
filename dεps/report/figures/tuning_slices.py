"""Scatter plots of accuracy over each option, one panel an option."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import column, records, rows_where
from dεps.report.drawing import at_edge, hold, titled_panels
from dεps.report.marks import dots
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import OPTIONS, complete, has, study_title, trials_of
from dεps.report.style import INK

ABOUT = About(
    title="Accuracy by option",
    section="Study",
    order=52,
    note="One dot a trial, later ones brighter; arrows on the lower edge are trials far below it. A trial without an "
    "option, as a constant ramp is without a length, is not in its panel.",
    sources=("tune/trials.csv",),
)
#: first to last trial; without viridis' ends, one of which is lost on a dark ground and one on a light
_ORDER = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.25, 0.92, 256)))


def draw(results: Results) -> Figure:
    """One dot a trial in each panel, coloured by the order of the trials."""
    trials = complete(results)
    names = [name for name in OPTIONS if column(_having(trials, name), name).nunique() > 1] or ["shrink_start"]
    title = "Accuracy by option"
    columns, lines = min(2, len(names)), -(-len(names) // 2)
    figure, panels = titled_panels(study_title(results, title), lines, columns, 0.9 + 1.6 * lines, sharey=True)
    order = Normalize(trials.trial.min(), trials.trial.max())
    bottom = hold(panels[0], trials.val_top1, trials.val_top1[trials.best])
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, names, strict=False):
        own = _having(trials, name)
        values, ticks = column(own, name), None
        if name == "ramp_shape":
            ticks = list(dict.fromkeys(values))
            values = values.map(ticks.index)
        seen = own.val_top1 >= bottom
        points = axes.scatter(
            values[seen],
            own.val_top1[seen],
            c=own.trial[seen],
            norm=order,
            cmap=_ORDER,
            s=22,
            edgecolors=INK,
            linewidths=0.3,
        )
        dots(points, "trial", trials_of(rows_where(own, seen), "val_top1"))
        for place, value in zip(values[~seen], own.val_top1[~seen], strict=True):
            at_edge(axes, place, value)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks, rotation=35, ha="right", fontsize=7)
            axes.margins(x=0.15)
        if name == "temperature":
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(OPTIONS[name])
    figure.supylabel("mean Pareto top-1 on validation (%)", fontsize=9)
    figure.colorbar(points, ax=panels, label="trial", pad=0.01, aspect=40).locator = MaxNLocator(integer=True)
    return figure


def _having(trials: pd.DataFrame, option: str) -> pd.DataFrame:
    """The trials that have the option; in the others' rows stands what base has."""
    return rows_where(trials, [has(trial, option) for trial in records(trials)])
