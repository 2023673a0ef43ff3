"""Fronts of DεpS at several shrink starts, and accuracy over shrink start of all trials."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dεps.core.tables import column, records, rows_where
from dεps.report.drawing import at_edge, hold, legend_below
from dεps.report.marks import dots
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import (
    DEPS,
    MARKERS,
    TOP1,
    complete,
    draw_published_variants,
    front,
    points_of,
    study_panels,
    trials_of,
)
from dεps.report.style import FULL, SOFT

ABOUT = About(
    title="Shrink start",
    section="Ablations",
    order=40,
    note="Above, fronts of the preset with only its shrink start changed; below, what that does to the largest arch, "
    "the mean and the smallest. Arrows on the lower edge are trials far below it.",
    sources=("tune/trials.csv", "tune/points.csv"),
)
OTHERS = "other trials"
#: columns of a trial, darkest first
SIZES = {"val_largest_top1": "largest", "val_top1": "mean Pareto", "val_smallest_top1": "smallest"}


def draw(results: Results) -> Figure:
    """Fronts above, accuracy over shrink start below, with other trials as dots."""
    figure, (upper, lower) = study_panels(results, "When to start shrinking")
    trials, starts = complete(results), _along_start(results)
    strengths = np.linspace(0.45, 1.0, max(1, len(starts)))
    for trial, strength, marker in zip(records(starts), strengths, cycle(MARKERS), strict=False):
        points, name = front(results, trial), f"start {trial['shrink_start']:.0%}"
        look: dict[str, Any] = {"color": DEPS, "alpha": strength, "marker": marker, "label": name, "markersize": 4}
        (line,) = upper.plot(points.macs / 1e6, points.val_top1, **look)
        dots(line, name, points_of(points))
    handles = upper.get_legend_handles_labels()[0]
    handles += draw_published_variants(upper, results, ["deps_start_25", "deps", "deps_start_75"])
    upper.set(xlabel="MACs (millions)", ylabel=TOP1)
    others = rows_where(trials, ~trials.trial.isin(starts.trial))
    every, always = (pd.concat([column(own, size) for size in SIZES]) for own in (trials, starts))
    bottom = hold(lower, every, always)
    looks = ((FULL, "s", "-"), (DEPS, "o", "-"), (DEPS, "^", ":"))
    for (size, name), (colour, marker, line) in zip(SIZES.items(), looks, strict=True):
        kept = rows_where(others, column(others, size) >= bottom)
        (drawn,) = lower.plot(100 * kept.shrink_start, kept[size], marker, color=colour, alpha=0.35, markersize=4)
        dots(drawn, OTHERS, trials_of(kept, size))
        look = {"marker": marker, "color": colour, "label": name, "markersize": 5}
        (drawn,) = lower.plot(100 * starts.shrink_start, starts[size], line, **look)
        dots(drawn, name, trials_of(starts, size))
    for place, own in others.groupby("shrink_start"):
        values = own[[*SIZES]].to_numpy().ravel()
        if len(far := sorted(values[values < bottom])):
            at_edge(lower, 100 * float(str(place)), *far)
    handles += lower.get_legend_handles_labels()[0]
    if len(others):
        dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 4, "alpha": 0.5}
        handles.append(Line2D([], [], color=SOFT, label=OTHERS, **dot))
    legend_below(figure, handles)
    lower.set(xlabel="shrink start (% of all epochs)", ylabel=TOP1)
    lower.set_xticks([100 * start for start in sorted(set(trials.shrink_start))])
    return figure


def _along_start(results: Results) -> pd.DataFrame:
    """The preset at each shrink start that the study was given, ascending."""
    trials = complete(results)
    given = [point for point in column(trials, "point").unique() if point.startswith("shrink_start ")]
    names = ["base", *(point for point in given if "," not in point)]
    return rows_where(trials, trials.point.isin(names)).sort_values("shrink_start")
