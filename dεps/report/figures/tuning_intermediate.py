"""Line chart of the smallest subnet's validation accuracy over epochs, one line a trial."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import column, matching
from dεps.report.drawing import legend_below
from dεps.report.marks import dots
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import DEPS, TOP1, study_axes
from dεps.report.style import FAINT, FULL

ABOUT = About(
    title="Trials while they train",
    section="Study",
    order=53,
    note="The smallest Pareto point. A trial begins at its shrink start; a cross ends one that was pruned.",
    sources=("tune/trials.csv", "tune/curves.csv"),
)
BEST, OTHERS = "best.yaml", "other trials"


def draw(results: Results) -> Figure:
    """One line a trial, the best one on top."""
    figure, axes = study_axes(results, "Trials while they train")
    pruned = set(matching(results.trials, state="pruned").trial)
    best = set(matching(results.trials, best=True).trial)
    curves = results.trial_curves.dropna(subset=["val/smallest_top1"])
    for number in sorted(column(curves, "trial").unique()):
        own = matching(curves, trial=number)
        epoch, top1 = column(own, "epoch"), column(own, "val/smallest_top1")
        colour, width = (DEPS, 1.8) if number in best else (FAINT, 1.0)
        (line,) = axes.plot(epoch, top1, "o-", markersize=3, color=colour, linewidth=width, zorder=2 + (number in best))
        facts = {"trial": number, "arch": "smallest", "epoch": epoch, "top1": top1, "of": "validation"}
        dots(line, BEST if number in best else OTHERS, pd.DataFrame(facts))
        if number in pruned:
            axes.plot(epoch.iloc[-1], top1.iloc[-1], "x", color=FULL, zorder=4)
    handles = [Line2D([], [], color=DEPS, label=BEST), Line2D([], [], color=FAINT, label=OTHERS)]
    if pruned:
        handles.append(Line2D([], [], linestyle="", marker="x", color=FULL, label=f"pruned ({len(pruned)})"))
    legend_below(figure, handles)
    axes.set(xlabel="epoch", ylabel=f"smallest arch, {TOP1}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
