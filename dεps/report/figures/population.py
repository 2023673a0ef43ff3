"""Line chart of the median test accuracy of random archs per MAC bucket, one line a method."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dεps.core.tables import column, matching
from dεps.report.drawing import BESIDE, draw_published, titled_axes
from dεps.report.published import medians_of
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.statistics import mean_std
from dεps.report.style import colours, label

ABOUT = About(
    title="Population",
    section="Accuracy of subnets",
    order=11,
    note="Medians over archs drawn at random in each MAC bucket, all seeds together; bars span the middle half of "
    "the archs, bands one standard deviation of the medians over seeds. "
    "A subspace, such as CompOFA's, has fewer archs in some of the same buckets.",
    sources=("evaluate/population.csv",),
)


def draw(results: Results) -> Figure:
    """One line of medians a method, with the middle half as bars, and a band for the spread over seeds."""
    figure, axes = titled_axes(results, "Random archs per MAC bucket")
    table = results.population
    # A subspace fills the same buckets otherwise, so each method's medians stand at the MACs of its own archs.
    centres = table.groupby(["method", "bucket"]).macs.transform("mean") / 1e6
    places = {method: number - (len(results.methods) - 1) / 2 for number, method in enumerate(results.methods)}
    step = 0.006 * (centres.max() - centres.min())
    table = table.assign(Method=table.method.map(label), place=centres + step * table.method.map(places))
    palette = {label(method): colour for method, colour in colours(results.methods).items()}
    bars: dict[str, Any] = {"err_style": "bars", "errorbar": ("pi", 50), "err_kws": {"elinewidth": 1.1}}
    lines: dict[str, Any] = {"estimator": "median", "marker": "o", "markersize": 5.5, "markeredgewidth": 0}
    sns.lineplot(table, x="place", y="test_top1", hue="Method", palette=palette, ax=axes, **lines, **bars)
    for method, colour in colours(results.methods).items():
        _band(axes, matching(table, method=method), colour)
    axes.set(xlabel="MACs (millions), mean of the bucket", ylabel="median top-1 on test (%)")
    count = table.groupby(["method", "bucket"]).size().max()
    published = draw_published(axes, results, medians_of(results.params))
    handles = [*axes.get_legend_handles_labels()[0], *published]
    legend = axes.legend(handles=handles, title=f"up to {count} archs a\nbucket; bars: middle half", **BESIDE)
    legend.set_alignment("left")
    legend.get_title().set_fontsize(8)
    return figure


def _band(axes: Axes, own: pd.DataFrame, colour: str) -> None:
    """Draw one standard deviation, over seeds, of a method's medians around its line, where there are several seeds."""
    medians = pd.DataFrame({"median": own.groupby(["bucket", "seed"]).test_top1.median()}).reset_index()
    std = column(mean_std(medians, ["bucket"], "median").set_index("bucket"), "std")
    line = own.groupby("bucket").agg({"place": "first", "test_top1": "median"})
    if std.to_numpy().max() > 0:
        low, high = line.test_top1 - std, line.test_top1 + std
        axes.fill_between(line.place, low, high, color=colour, alpha=0.15, linewidth=0)
