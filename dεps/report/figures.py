"""Figures of what was measured of the supernets: Pareto points, random archs, predictor, search.

Each takes the results of one experiment and returns a matplotlib figure. Lines are means over seeds and bands or bars
the standard deviation, unless the figure says otherwise; every figure says how many seeds it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dεps.report.drawing import BESIDE, band, heading, mean_std, titled_axes, titled_panels
from dεps.report.published import Median, Point, dataset_of, medians_of, pareto_points
from dεps.report.results import Results
from dεps.report.style import FULL, SOFT, colours, label
from dεps.report.tables import predictor_tau


def pareto(results: Results) -> Figure:
    """Test accuracy over MACs through the Pareto points, of what was trained alone, and as published for this data."""
    figure, axes = titled_axes(results, "Pareto points")
    for method in results.methods:
        points = mean_std(results.pareto[results.pareto.method == method], ["macs", "name"], "test_top1")
        band(axes, points.macs / 1e6, points["mean"], points["std"], method, marker="o")
    reference = results.reference["reference/full_model_top1"]
    # A method's own largest arch may be smaller than the full model.
    axes.plot(results.space_points.macs.max() / 1e6, reference, "*", color=FULL, markersize=10)
    alone = mean_std(results.standalone, ["macs", "arch"], "test_top1")
    error = alone["std"] if len(results.seeds) > 1 else None
    diamond = {"fmt": "D", "color": FULL, "markersize": 5, "zorder": 3, "label": "arch trained alone"}
    axes.errorbar(alone.macs / 1e6, alone["mean"], yerr=error, **diamond)
    published = _published(axes, results, pareto_points(dataset_of(results.params) or ""))
    _name_archs(axes, results.space_points.sort_values("macs"))  # after all points: it settles the limits
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on test (%)")
    star = Line2D([], [], marker="*", linestyle="", color=FULL, markersize=9)
    handles, names = axes.get_legend_handles_labels()
    labels = [*names, "full model alone", *(line.get_label() for line in published)]
    axes.legend([*handles, star, *published], labels, **BESIDE)
    return figure


def _published(axes: Axes, results: Results, points: Mapping[str, Sequence[Point | Median]]) -> list[Line2D]:
    """Draw the published points of the selected methods; their entry of the legend, or none."""
    style = {"linestyle": "--", "linewidth": 0.9, "marker": "o", "markerfacecolor": "none", "markersize": 4.5}
    there = [method for method in results.methods if method in points]
    for method in there:
        macs, top1 = [point.macs / 1e6 for point in points[method]], [point.top1 for point in points[method]]
        axes.plot(macs, top1, color=colours([method])[method], **style)
    return [Line2D([], [], color=SOFT, label="published (±0.05)", **style)] if there else []


def _name_archs(axes: Axes, points: pd.DataFrame) -> None:
    """Names of the Pareto points along the lower edge; neighbours too close to read are pushed apart."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.16 * (high - low), high)
    gap, right = 0.035 * (points.macs.max() - points.macs.min()) / 1e6, float("-inf")
    for _, point in points.iterrows():
        right = max(point.macs / 1e6, right + gap)
        place = (right, axes.get_ylim()[0])
        above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(point["name"], place, rotation=90, fontsize=6.5, color=SOFT, **above)


def population(results: Results) -> Figure:
    """Median test accuracy of random archs per MAC bucket, with the middle half as bars (RSS's figure)."""
    figure, axes = titled_axes(results, "Random archs per MAC bucket")
    table = results.population
    # A subspace fills the same buckets otherwise, so each method's medians stand at the MACs of its own archs.
    centres = table.groupby(["method", "bucket"]).macs.transform("mean") / 1e6
    places = {method: number - (len(results.methods) - 1) / 2 for number, method in enumerate(results.methods)}
    step = 0.006 * (centres.max() - centres.min())
    table = table.assign(Method=table.method.map(label), place=centres + step * table.method.map(places))
    palette = {label(method): colour for method, colour in colours(results.methods).items()}
    bars = {"err_style": "bars", "errorbar": ("pi", 50), "err_kws": {"elinewidth": 1.1}}
    lines = {"estimator": "median", "marker": "o", "markersize": 5.5, "markeredgewidth": 0}
    sns.lineplot(table, x="place", y="test_top1", hue="Method", palette=palette, ax=axes, **lines, **bars)
    axes.set(xlabel="MACs (millions), mean of the bucket", ylabel="median top-1 on test (%)")
    count = int(table.groupby(["method", "bucket"]).size().max())
    published = _published(axes, results, medians_of(results.params))
    handles = [*axes.get_legend_handles_labels()[0], *published]
    legend = axes.legend(handles=handles, title=f"up to {count} archs a\nbucket; bars: middle half", **BESIDE)
    legend._legend_box.align = "left"
    legend.get_title().set_fontsize(8)
    return figure


def predictor(results: Results) -> Figure:
    """Predicted over measured accuracy of archs that the predictor had not seen, one panel a method, with its τ."""
    columns = min(3, len(results.methods))
    rows = math.ceil(len(results.methods) / columns)
    title = heading(results, "Accuracy predictor, cross-validated")
    figure, panels = titled_panels(title, rows, columns, 6.4, 0.9 + 1.75 * rows, sharex=True, sharey=True)
    values = results.predictions[["measured", "predicted"]]
    ends = [values.min().min(), values.max().max()]
    for axes, method in zip(panels, results.methods, strict=False):
        own = results.predictions[results.predictions.method == method]
        metrics = results.metrics[results.metrics.method == method]
        axes.plot(ends, ends, color=SOFT, linewidth=0.8, zorder=1)
        colour = colours([method])[method]
        axes.plot(own.measured, own.predicted, "o", color=colour, alpha=0.75, markersize=4, markeredgewidth=0)
        axes.set_title(
            f"{label(method)}   τ = {predictor_tau(metrics)}", fontsize=8.5, fontweight="normal", loc="left", pad=5
        )
        macs, ceiling = (metrics[f"predictor/{name}_kendall_tau"].mean() for name in ("macs", "ceiling"))
        text = f"MACs {macs:.2f}\nceiling {ceiling:.2f}\nn = {len(own)}"
        axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", color=SOFT, fontsize=7.5)
    for axes in panels[len(results.methods) :]:
        axes.set_visible(False)
    figure.supxlabel("measured top-1 on validation (%)", fontsize=9)
    figure.supylabel("predicted (%)", fontsize=9)
    return figure


def searched(results: Results) -> Figure:
    """The fronts that search found: predicted, and measured where measured."""
    figure, axes = titled_axes(results, "Searched archs")
    for method in results.methods:
        own, colour = results.searched[results.searched.method == method], colours([method])[method]
        for _, front in own.groupby("seed"):
            axes.plot(front.macs / 1e6, front.predicted, color=colour, linewidth=0.9, alpha=0.6)
            measured = front.dropna(subset=["measured"])
            axes.plot(measured.macs / 1e6, measured.measured, "o", color=colour)
    handles = [Line2D([], [], color=colours([method])[method], label=label(method)) for method in results.methods]
    handles += [Line2D([], [], color=SOFT, linewidth=0.9, label="predicted")]
    handles += [Line2D([], [], color=SOFT, marker="o", linestyle="", label="measured")]
    axes.legend(handles=handles, **BESIDE)
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on validation (%)")
    return figure
