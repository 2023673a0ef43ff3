"""Line chart of test accuracy over MACs through the Pareto points, one line a method."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dεps.core.tables import column, matching
from dεps.report.drawing import BESIDE, band, draw_published, pushed_apart, titled_axes
from dεps.report.published import dataset_of, pareto_points
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.statistics import mean_std
from dεps.report.style import FULL, SOFT, colours, label

ABOUT = About(
    title="Pareto points",
    section="Accuracy of subnets",
    order=10,
    note="Each method's subnets at the largest kernel that it offers, cut from its supernet without further "
    "training. A star is the full model trained alone, a diamond an arch trained alone.",
    sources=("evaluate/pareto.csv", "reference/metrics.json", "reference/standalone.csv"),
    compares_points=True,
)


def draw(results: Results) -> Figure:
    """One line of means over seeds a method; the band is one standard deviation."""
    figure, axes = titled_axes(results, "Pareto points")
    for method in results.methods:
        points = mean_std(matching(results.pareto, method=method), ["macs", "name"], "test_top1")
        band(axes, points.macs / 1e6, points, color=colours(results.methods)[method], label=label(method), marker="o")
    reference = results.reference["reference/full_model_top1"]
    # A method's own largest arch may be smaller than the full model.
    axes.plot(results.space_points.macs.max() / 1e6, reference, "*", color=FULL, markersize=10)
    alone = mean_std(results.standalone, ["macs", "arch"], "test_top1")
    error = alone["std"] if len(results.seeds) > 1 else None
    diamond: dict[str, Any] = {"fmt": "D", "color": FULL, "markersize": 5, "zorder": 3, "label": "arch trained alone"}
    axes.errorbar(alone.macs / 1e6, alone["mean"], yerr=error, **diamond)
    published = draw_published(axes, results, pareto_points(dataset_of(results.params) or ""))
    _name_archs(axes, results.space_points.sort_values("macs"))  # after all points: it settles the limits
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on test (%)")
    star = Line2D([], [], marker="*", linestyle="", color=FULL, markersize=9)
    handles, names = axes.get_legend_handles_labels()
    labels = [*names, "full model alone", *(line.get_label() for line in published)]
    axes.legend([*handles, star, *published], labels, **BESIDE)
    return figure


def _name_archs(axes: Axes, points: pd.DataFrame) -> None:
    """Write the Pareto points' names along the lower edge; neighbours too close to read are pushed apart."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.16 * (high - low), high)
    above: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
    for right, name in zip(pushed_apart(points.macs.tolist()), column(points, "name"), strict=True):
        axes.annotate(name, (right, axes.get_ylim()[0]), rotation=90, fontsize=6.5, color=SOFT, **above)
