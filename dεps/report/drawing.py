"""Drawing that several figures share: titles, lines of means with a band for the spread, published points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from dεps.core.console import plural
from dεps.core.tables import column, columns
from dεps.report.marks import dots, part
from dεps.report.published import Point
from dεps.report.results import Results
from dεps.report.style import SOFT, colours, label

#: inches: as wide as a column of the page, and legible on a phone, which shrinks it by a fifth
WIDTH = 4.4
#: series of what the papers report
PUBLISHED = "published (±0.05)"
#: points of the smallest letters
SMALL = 7.0


def heading(results: Results, title: str) -> str:
    """The title, and below it the data's name and the number of seeds."""
    return f"{title}\n({results.manifest['name']}, {plural(len(results.seeds), 'seed')})"


def heading_of_first(results: Results, title: str) -> str:
    """The title, and below it the data's name, of a figure of the first method and seed alone."""
    method, seed = results.runs[0]
    return f"{title}\n({results.manifest['name']}, {label(method)}, seed {seed})"


def titled_axes(results: Results, title: str, head: Callable[[Results, str], str] = heading) -> tuple[Figure, Axes]:
    """A figure of one panel below its title, and the panel."""
    figure = Figure()
    name_figure(figure, head(results, title))
    return figure, figure.subplots()


def titled_panels(title: str, rows: int, columns: int, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of several panels below one title, `height` inches high, and the panels row by row."""
    figure = Figure(figsize=(WIDTH, height))
    panels = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    name_figure(figure, title)
    return figure, list(panels)


def name_figure(figure: Figure, title: str) -> None:
    """Write the title at the upper left, however wide the labels of the axes are."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")


def legend_below(figure: Figure, handles: Sequence[Artist] | None = None, columns: int = 3, **options: Any) -> None:
    """A legend below everything, where it takes no width: of these handles, or of what the first panel has drawn."""
    found = figure.axes[0].get_legend_handles_labels()[0] if handles is None else handles
    figure.legend(handles=found, loc="outside lower center", ncols=columns, columnspacing=1.2, **options)


def band(axes: Axes, x: ArrayLike, points: pd.DataFrame, series: str, frame: pd.DataFrame, **line: Any) -> None:
    """Draw the line of `points.mean`, with a band of one standard deviation where there is any.

    Its dots are the rows of `frame`; both belong to the series, which the legend names.
    """
    mean, std = column(points, "mean"), column(points, "std")
    (drawn,) = axes.plot(x, mean, label=series, **line)
    dots(drawn, series, frame)
    if np.nanmax(std, initial=0.0) > 0:
        part(axes.fill_between(x, mean - std, mean + std, color=line["color"], alpha=0.14, linewidth=0), series)


def hold(axes: Axes, values: pd.Series, always: pd.Series) -> float:
    """Set the vertical limits so that a few values far below the rest leave it legible; returns the lower one.

    Far below is more than three times the middle half's width below it, and less than what is `always` shown. Who draws
    such values shows them on the limit (`at_edge`).
    """
    found = values.to_numpy(dtype=float)
    low, high = np.percentile(found, [25, 75])
    fence = min(low - 3 * max(high - low, 0.5), always.min() if len(always) else low)
    kept = found[found >= fence]
    room = 0.08 * max(kept.max() - kept.min(), 0.5)
    bottom = kept.min() - (2.5 * room if len(kept) < len(found) else room)
    axes.set_ylim(bottom, kept.max() + room)
    return float(bottom)


def at_edge(axes: Axes, x: float, *values: float) -> None:
    """Show values below the axes' lower limit: an arrow on that edge, and the values."""
    bottom = axes.get_ylim()[0]
    axes.plot([x], [bottom], marker="v", color=SOFT, markersize=5, clip_on=False, zorder=5)
    place: dict[str, Any] = {"xytext": (-5, 3), "textcoords": "offset points", "ha": "right", "fontsize": SMALL}
    axes.annotate(", ".join(f"{value:.1f}" for value in values), (x, bottom), color=SOFT, **place)


def pushed_apart(macs: Sequence[float]) -> list[float]:
    """Places of labels at ascending MACs, in millions; neighbours too close to read are moved to the right."""
    gap, right, places = 0.045 * (max(macs, default=0) - min(macs, default=0)) / 1e6, float("-inf"), []
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
        draw_points(axes, points[method], PUBLISHED, label(method), color=colours(results.methods)[method], **style)
    return [Line2D([], [], color=SOFT, label=PUBLISHED, **style)] if there else []


def draw_points(axes: Axes, points: Sequence[Point], series: str, name: str, **style: Any) -> None:
    """Draw published points over MACs in millions, as dots of that series and name."""
    (line,) = axes.plot([point.macs / 1e6 for point in points], [point.top1 for point in points], **style)
    frame = pd.DataFrame(points, columns=["macs", "top1", "arch"])
    dots(line, series, columns(frame.assign(method=name, of="test"), "method", "macs", "top1", "of"))


def three_digits(value: float) -> str:
    """The number with three digits, or all of those before the point."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"
