"""What all figures share: the record of one, titled axes, lines of means with a band for the spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dεps.report.results import Results
from dεps.report.style import colours, label

#: a legend beside the axes, where six methods hide nothing
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


class FigureKind(NamedTuple):
    """One figure of the report."""

    #: its files' name
    name: str
    title: str
    #: what it looks like, for those who cannot see it
    alt: str
    #: how to read it
    note: str
    draw: Callable[[Results], Figure]
    #: the result files that it shows, as `<stage>/<file>`
    sources: tuple[str, ...]
    #: the sections of the experiment's params that decide what it shows
    keys: tuple[str, ...]
    #: whether it sets methods' Pareto points side by side: the note then names those whose points are other archs
    points: bool = False


def heading(results: Results, title: str) -> str:
    """A figure's title with the data and the number of seeds."""
    count = len(results.seeds)
    return f"{title} ({results.manifest['name']}, {count} seed{'s' if count > 1 else ''})"


def titled_axes(results: Results, title: str) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_title(heading(results, title), loc="left")
    return figure, axes


def titled_panels(title: str, rows: int, columns: int, width: float, height: float, **share: bool) -> tuple:
    """A figure of several panels below one title, and the panels, row by row."""
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(rows, columns, squeeze=False, **share).ravel()
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure, list(panels)


def band(axes: Axes, x: np.ndarray, mean: np.ndarray, std: np.ndarray, method: str, **line: object) -> None:
    """A method's line of means, with a band of one standard deviation where there is any."""
    colour = colours([method])[method]
    axes.plot(x, mean, color=colour, **{"label": label(method), **line})
    if np.nanmax(std, initial=0.0) > 0:
        axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def three_digits(value: float) -> str:
    """A number with three digits, or all of those before the point."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def mean_std(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean and a sample's standard deviation of `value` over what is not in `by`; 0 of a single value."""
    grouped = frame.groupby(by, sort=True)[value]
    return pd.DataFrame({"mean": grouped.mean(), "std": grouped.std().fillna(0.0)}).reset_index()
