"""Fronts of DεpS at several shrink starts, and accuracy over shrink start of all trials."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dεps.core.tables import column, records, rows_where
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import DEPS, MARKERS, TOP1, complete, draw_published_variants, front, study_panels
from dεps.report.style import FULL, SOFT

ABOUT = About(
    title="Shrink start",
    section="Ablations",
    order=40,
    note="Left, fronts of the preset with only its shrink start changed; right, what that does to the largest arch, "
    "the mean and the smallest.",
    sources=("tune/trials.csv", "tune/points.csv"),
)
#: columns of a trial, darkest first
SIZES = {"val_largest_top1": "largest", "val_top1": "mean Pareto", "val_smallest_top1": "smallest"}


def draw(results: Results) -> Figure:
    """Fronts on the left, accuracy over shrink start on the right, with other trials as dots."""
    figure, (left, right) = study_panels(results, "When to start shrinking")
    trials, starts = complete(results), _along_start(results)
    strengths = np.linspace(0.45, 1.0, max(1, len(starts)))
    for trial, strength, marker in zip(records(starts), strengths, cycle(MARKERS), strict=False):
        points, name = front(results, trial), f"{trial['shrink_start']:.0%}"
        left.plot(points.macs / 1e6, points.val_top1, color=DEPS, alpha=strength, marker=marker, label=name)
    handles = left.get_legend_handles_labels()[0]
    handles += draw_published_variants(left, results, ["deps_start_25", "deps", "deps_start_75"])
    left.legend(handles=handles, title="shrink start", loc="lower right", fontsize=8, title_fontsize=8)
    left.set(xlabel="MACs (millions)", ylabel=TOP1)
    others = trials[~trials.trial.isin(starts.trial)]
    looks = ((FULL, "s", "-"), (DEPS, "o", "-"), (DEPS, "^", ":"))
    for (size, name), (colour, marker, line) in zip(SIZES.items(), looks, strict=True):
        right.plot(100 * others.shrink_start, others[size], marker, color=colour, alpha=0.35, markersize=4)
        right.plot(100 * starts.shrink_start, starts[size], line, marker=marker, color=colour, label=name)
    handles = right.get_legend_handles_labels()[0]
    if len(others):
        dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 4, "alpha": 0.5}
        handles.append(Line2D([], [], color=SOFT, label="other trials", **dot))
    right.legend(handles=handles, fontsize=8)
    right.set(xlabel="shrink start (% of all epochs)", ylabel=TOP1)
    right.set_xticks([100 * start for start in sorted(set(trials.shrink_start))])
    return figure


def _along_start(results: Results) -> pd.DataFrame:
    """The preset at each shrink start that the study was given, ascending."""
    trials = complete(results)
    given = [point for point in column(trials, "point").unique() if point.startswith("shrink_start ")]
    names = ["base", *(point for point in given if "," not in point)]
    return rows_where(trials, trials.point.isin(names)).sort_values("shrink_start")
