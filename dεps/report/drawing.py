"""Drawing that several figures share: titles, lines of means with a band for the spread, published points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from dεps.core.console import plural
from dεps.core.tables import column
from dεps.report.published import Point
from dεps.report.results import Results
from dεps.report.style import SOFT, colours

#: a legend beside the axes, where six methods hide nothing
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


def heading(results: Results, title: str) -> str:
    """The title with the data's name and the number of seeds."""
    return f"{title} ({results.manifest['name']}, {plural(len(results.seeds), 'seed')})"


def titled_axes(results: Results, title: str, head: Callable[[Results, str], str] = heading) -> tuple[Figure, Axes]:
    """A figure of one panel below its title, and the panel."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(head(results, title), loc="left")
    return figure, axes


def titled_panels(
    title: str, rows: int, columns: int, width: float, height: float, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of several panels below one title, `width` by `height` inches, and the panels row by row."""
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure, list(panels)


def band(axes: Axes, x: ArrayLike, points: pd.DataFrame, **line: Any) -> None:
    """Draw the line of `mean_std`'s means, with a band of one standard deviation where there is any."""
    mean, std = column(points, "mean"), column(points, "std")
    axes.plot(x, mean, **line)
    if np.nanmax(std, initial=0.0) > 0:
        axes.fill_between(x, mean - std, mean + std, color=line["color"], alpha=0.18, linewidth=0)


def pushed_apart(macs: Sequence[float]) -> list[float]:
    """Places of labels at ascending MACs, in millions; neighbours too close to read are moved to the right."""
    gap, right, places = 0.035 * (max(macs, default=0) - min(macs, default=0)) / 1e6, float("-inf"), []
    for value in macs:
        right = max(value / 1e6, right + gap)
        places.append(right)
    return places


def draw_published(axes: Axes, results: Results, points: Mapping[str, Sequence[Point]]) -> list[Line2D]:
    """Draw the published points of the selected methods over MACs; their entry of the legend, or none."""
    style: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9, "marker": "o", "markerfacecolor": "none"}
    style["markersize"] = 4.5
    there = [method for method in results.methods if method in points]
    for method in there:
        draw_points(axes, points[method], color=colours(results.methods)[method], **style)
    return [Line2D([], [], color=SOFT, label="published (±0.05)", **style)] if there else []


def draw_points(axes: Axes, points: Sequence[Point], **style: Any) -> None:
    """Draw published points over MACs in millions."""
    axes.plot([point.macs / 1e6 for point in points], [point.top1 for point in points], **style)


def three_digits(value: float) -> str:
    """The number with three digits, or all of those before the point."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"
