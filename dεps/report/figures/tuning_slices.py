"""Scatter plots of accuracy over each option, one panel an option."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import column
from dεps.report.drawing import titled_panels
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import OPTIONS, complete, study_axes, study_title
from dεps.report.style import INK

ABOUT = About(
    title="Accuracy by option",
    section="Study",
    order=52,
    note="One dot a trial, later ones brighter.",
    sources=("tune/trials.csv",),
)
#: first to last trial; without viridis' ends, one of which is lost on a dark ground and one on a light
_ORDER = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.25, 0.92, 256)))


def draw(results: Results) -> Figure:
    """One dot a trial in each panel, coloured by the order of the trials."""
    trials = complete(results)
    names = [name for name in OPTIONS if column(trials, name).nunique() > 1] or ["shrink_start"]
    title = "Accuracy by option"
    if len(names) > 1:
        width = max(3.4, 1.75 * len(names))
        figure, panels = titled_panels(study_title(results, title), 1, len(names), width, 2.9, sharey=True)
    else:
        figure, axes = study_axes(results, title)
        panels = [axes]
    for axes, name in zip(panels, names, strict=True):
        values, ticks = column(trials, name), None
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
    panels[0].set_ylabel("mean Pareto top-1 (%)")
    figure.colorbar(points, ax=panels, label="trial", pad=0.01, aspect=30).locator = MaxNLocator(integer=True)
    return figure
