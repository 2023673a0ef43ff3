"""Line chart of the median test accuracy of random archs per MAC bucket, one line a method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dεps.core.tables import column, matching
from dεps.report.drawing import draw_published, legend_below, titled_axes
from dεps.report.marks import dots, part
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
    "the archs, bands one standard deviation of the medians over seeds. Methods stand side by side in a bucket. "
    "A subspace, such as CompOFA's, has fewer archs in some of the same buckets. Variants of a method that is here too "
    "are among the differences.",
    sources=("evaluate/population.csv",),
    variants=False,
)


def draw(results: Results) -> Figure:
    """One line of medians a method, with the middle half as bars, and a band for the spread over seeds."""
    figure, axes = titled_axes(results, "Random archs per MAC bucket")
    table = results.population
    # A subspace fills the same buckets otherwise, so each method's medians stand at the MACs of its own archs.
    centres = table.groupby(["method", "bucket"]).macs.transform("mean") / 1e6
    places = {method: number - (len(results.methods) - 1) / 2 for number, method in enumerate(results.methods)}
    step = 0.008 * (centres.max() - centres.min())
    table = table.assign(place=centres + step * table.method.map(places))
    for method, colour in colours(results.methods).items():
        _draw_method(axes, matching(table, method=method), label(method), colour)
    axes.set(xlabel="MACs (millions), mean of the bucket", ylabel="median top-1 on test (%)")
    published = draw_published(axes, results, medians_of(results.params))
    legend_below(figure, [*axes.get_legend_handles_labels()[0], *published])
    return figure


def _draw_method(axes: Axes, own: pd.DataFrame, name: str, colour: str) -> None:
    """A method's medians, the middle half of its archs, and one standard deviation of the medians over seeds."""
    found = own.groupby("bucket").test_top1.quantile([0.25, 0.5, 0.75]).unstack().to_numpy()
    low, median, high = found.T
    place = own.groupby("bucket").place.first().to_numpy()
    lines, collections = len(axes.lines), len(axes.collections)
    bars: dict[str, Any] = {"errorbar": ("pi", 50), "err_style": "bars", "err_kws": {"elinewidth": 1.1}}
    look: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 5, "markeredgewidth": 0, "label": name}
    sns.lineplot(own, x="place", y="test_top1", estimator="median", ax=axes, legend=False, **bars, **look)
    line = axes.lines[lines]
    for drawn in axes.collections[collections:]:
        part(drawn, name)
    counts = own.groupby("bucket").size()
    facts: dict[str, Any] = {"method": own.method.iloc[0], "macs": own.groupby("bucket").macs.mean().round().to_numpy()}
    facts |= {"top1": median, "middle half from": low, "middle half to": high, "of": "test", "archs": counts.to_numpy()}
    medians = pd.DataFrame({"median": own.groupby(["bucket", "seed"]).test_top1.median()}).reset_index()
    std = column(mean_std(medians, ["bucket"], "median"), "std").to_numpy()
    some = np.nanmax(std, initial=0.0) > 0
    dots(line, name, pd.DataFrame(facts | ({"± of medians over seeds": std} if some else {})))
    if some:
        part(axes.fill_between(place, median - std, median + std, color=colour, alpha=0.13, linewidth=0), name)
