"""Line chart of test accuracy over MACs through the Pareto points, one line a method."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dεps.core.tables import column, matching
from dεps.report.drawing import SMALL, band, draw_published, legend_below, pushed_apart, titled_axes
from dεps.report.marks import dots, over_seeds, part
from dεps.report.published import dataset_of, pareto_points
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import FULL, SOFT, colours, label
from dεps.workspace.identity import FULL_MODEL, standalone_method

ABOUT = About(
    title="Pareto points",
    section="Accuracy of subnets",
    order=10,
    note="Each method's subnets at the largest kernel that it offers, cut from its supernet without further "
    "training; means over seeds, the band is one standard deviation. A line may fall: the points are archs, named "
    "below by depth, expand ratio and kernel, not the best at their MACs. The star is the full model trained alone, a "
    "diamond an arch trained alone; the dotted line is logistic regression on the pixels, which any network should "
    "beat; words with an arrow say where it is if that is far below. Variants of a method that is here too are "
    "among the differences.",
    sources=("evaluate/pareto.csv", "reference/metrics.json", "reference/standalone.csv"),
    compares_points=True,
    variants=False,
)
#: how far below everything else logistic regression may lie, in heights of all else, to be drawn at its place
_REACH = 0.35
ALONE, LOGISTIC = "full model alone", "logistic regression"


def draw(results: Results) -> Figure:
    """One line of means over seeds a method; the band is one standard deviation."""
    figure, axes = titled_axes(results, "Pareto points")
    for method in results.methods:
        points = over_seeds(matching(results.pareto, method=method), ["macs", "name", "arch", "method"], "test_top1")
        style = {"color": colours(results.methods)[method], "marker": "o"}
        band(axes, points.macs / 1e6, points, label(method), measured(points, "test"), **style)
    _draw_alone(axes, results)
    published = draw_published(axes, results, pareto_points(dataset_of(results.params) or ""))
    _draw_logistic(axes, results)
    _name_archs(axes, results.space_points.sort_values("macs"))  # after all points: it settles the limits
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on test (%)")
    legend_below(figure, [*axes.get_legend_handles_labels()[0], *published])
    return figure


def measured(points: pd.DataFrame, of: str) -> pd.DataFrame:
    """Rows of `over_seeds` as dots: what the page names."""
    return points.rename(columns={"mean": "top1"}).drop(columns=["std"]).assign(of=of)


def _draw_alone(axes: Axes, results: Results) -> None:
    """The full model, at the whole space's largest arch, and archs trained alone."""
    full = results.space_points.loc[results.space_points.macs.idxmax()]
    top1 = results.reference["reference/full_model_top1"]
    star = {"marker": "*", "linestyle": "", "color": FULL, "markersize": 10}
    # A method's own largest arch may be smaller than the full model.
    (drawn,) = axes.plot([full.macs / 1e6], [top1], label=ALONE, **star)
    names = " ".join(f"{FULL_MODEL}-{seed}" for seed in results.seeds)
    dots(
        drawn, ALONE, pd.DataFrame([{"arch": full.arch, "macs": full.macs, "top1": top1, "of": "test", "runs": names}])
    )
    own = results.standalone.assign(method=results.standalone.standalone.map(standalone_method))
    alone = over_seeds(own, ["macs", "arch", "method"], "test_top1")
    error = alone["std"] if len(results.seeds) > 1 else None
    name = "arch trained alone"
    diamond: dict[str, Any] = {"fmt": "D", "color": FULL, "markersize": 5, "zorder": 3}
    line, caps, bars = axes.errorbar(alone.macs / 1e6, alone["mean"], yerr=error, **diamond)
    line.set_label(name)  # not the whole container, whose mark in the legend is of several parts
    dots(line, name, measured(alone, "test").drop(columns="method"))
    for one in (*caps, *bars):
        part(one, name)


def _draw_logistic(axes: Axes, results: Results) -> None:
    """A line at its accuracy, or words below everything else where that would flatten it."""
    top1 = results.reference["reference/logistic_regression_top1"]
    low, high = axes.dataLim.intervaly
    near = top1 >= low - _REACH * (high - low)
    if near:
        part(axes.axhline(top1, color=SOFT, linewidth=1.0, linestyle=":", zorder=1, label=LOGISTIC), LOGISTIC)
    # In the widest gap between the names of archs, which stand as high.
    macs = sorted(set(results.space_points.macs / 1e6))
    left, right = max(pairwise(macs), key=lambda gap: gap[1] - gap[0], default=(macs[0], macs[0]))
    text, at = (
        (f"{top1:.1f}", top1) if near else (f"{LOGISTIC}:\n↓ {top1:.1f}, off the axis", low - 0.05 * (high - low))
    )
    offset, side = (2, "bottom") if near else (-2, "top")
    place: dict[str, Any] = {"xytext": (0, offset), "textcoords": "offset points", "ha": "center", "va": side}
    axes.annotate(text, ((left + right) / 2, at), color=SOFT, fontsize=SMALL, **place)


def _name_archs(axes: Axes, points: pd.DataFrame) -> None:
    """Write the Pareto points' names along the lower edge; neighbours too close to read are pushed apart."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.32 * (high - low), high)  # a name's height below all points
    above: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom"}
    for right, name in zip(pushed_apart(points.macs.tolist()), column(points, "name"), strict=True):
        axes.annotate(name, (right, axes.get_ylim()[0]), rotation=90, fontsize=SMALL, color=SOFT, **above)
