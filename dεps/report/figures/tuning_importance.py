"""Bar chart of the share of the variance that each option explains."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dεps.core.console import plural
from dεps.core.tables import column, records
from dεps.report.drawing import legend_below
from dεps.report.marks import dots
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import DEPS, OPTIONS, alike, complete, study_axes
from dεps.report.style import FAINT
from dεps.tuning.config import SEARCHED

ABOUT = About(
    title="Importance of options",
    section="Study",
    order=51,
    note="By fANOVA, of the complete trials that differ from the preset in nothing but these options; what several of "
    "them explain only together is in no bar. With few trials it says little.",
    sources=("tune/trials.csv", "tune/importance.csv"),
)


def draw(results: Results) -> Figure:
    """Two bars an option: its share of the variance of accuracy and of training cost."""
    figure, axes = study_axes(results, "What matters")
    table = results.importance
    if not len(table):
        axes.text(0.5, 0.5, "too few complete trials to tell", ha="center", transform=axes.transAxes)
        return figure
    table = table.sort_values("accuracy")
    places = np.arange(len(table))
    options = [OPTIONS[name] for name in column(table, "option")]
    for shift, name, of, colour in (
        (0.2, "accuracy", "mean Pareto accuracy", DEPS),
        (-0.2, "cost", "training cost", FAINT),
    ):
        bars = axes.barh(places + shift, table[name], 0.38, color=colour, label=of)
        for bar, option, share in zip(bars, options, table[name], strict=True):
            dots(bar, of, pd.DataFrame([{"option": option, "share of variance": share}]))
    axes.set_yticks(places, options)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"share of variance ({plural(_count(results), 'trial')})")
    legend_below(figure)
    return figure


def _count(results: Results) -> int:
    """Number of trials that the shares are of; files of before do not say it, but it follows from the trials."""
    if "trials" in results.importance:
        return int(results.importance.trials.iloc[0])
    trials = records(complete(results))
    base = next((trial for trial in trials if trial["point"] == "base"), None)
    return sum(base is None or alike(trial, base, SEARCHED) for trial in trials)
