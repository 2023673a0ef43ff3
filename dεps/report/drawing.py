"""Drawing that several figures share: titles, lines of means with a band for the spread, published points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from dεps.report.published import Median, Point
from dεps.report.results import Results
from dεps.report.style import SOFT, colours, label

#: a legend beside the axes, where six methods hide nothing
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


def heading(results: Results, title: str) -> str:
    """The title with the data's name and the number of seeds."""
    count = len(results.seeds)
    return f"{title} ({results.manifest['name']}, {count} seed{'s' if count > 1 else ''})"


def titled_axes(results: Results, title: str) -> tuple[Figure, Axes]:
    """A figure of one panel below its `heading`, and the panel."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(heading(results, title), loc="left")
    return figure, axes


def titled_panels(
    title: str, rows: int, columns: int, width: float, height: float, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of several panels below one title, `width` by `height` inches, and the panels row by row."""
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey).ravel()
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure, list(panels)


def band(axes: Axes, x: ArrayLike, mean: pd.Series, std: pd.Series, method: str, **line: Any) -> None:
    """Draw a method's line of means, with a band of one standard deviation where there is any."""
    colour = colours([method])[method]
    axes.plot(x, mean, color=colour, **{"label": label(method), **line})
    if np.nanmax(std, initial=0.0) > 0:
        axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def draw_published(axes: Axes, results: Results, points: Mapping[str, Sequence[Point | Median]]) -> list[Line2D]:
    """Draw the published points of the selected methods over MACs; their entry of the legend, or none."""
    style: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9, "marker": "o", "markerfacecolor": "none"}
    style["markersize"] = 4.5
    there = [method for method in results.methods if method in points]
    for method in there:
        macs, top1 = [point.macs / 1e6 for point in points[method]], [point.top1 for point in points[method]]
        axes.plot(macs, top1, color=colours([method])[method], **style)
    return [Line2D([], [], color=SOFT, label="published (±0.05)", **style)] if there else []


def three_digits(value: float) -> str:
    """The number with three digits, or all of those before the point."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def mean_std(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean and a sample's standard deviation of `value` over what is not in `by`; 0 for a single value."""
    grouped = frame.groupby(by, sort=True)[value]
    return pd.DataFrame({"mean": grouped.mean(), "std": grouped.std().fillna(0.0)}).reset_index()
