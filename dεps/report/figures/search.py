"""Line chart of predicted accuracy of searched archs over MACs, with dots where it was measured."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dεps.core.tables import columns, matching
from dεps.report.drawing import legend_below, titled_axes
from dεps.report.marks import dots, part, runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import SOFT, colours, label
from dεps.spaces.pareto import front as pareto

ABOUT = About(
    title="Fronts found by search",
    section="Prediction and search",
    order=31,
    note="NSGA-II on predicted accuracy and MACs, a line a seed; dots are archs that were measured with the supernet's "
    "weights: of a line, of an earlier round or, with a latency table, of the front by latency. Of thousands of "
    "archs the search keeps those of which the predictor thinks most, so lines tend to lie above their dots: trust the "
    "dots. "
    "Variants of a method that is here too are left out.",
    sources=("search/front.csv",),
    variants=False,
)


def draw(results: Results) -> Figure:
    """One line a method and seed."""
    figure, axes = titled_axes(results, "Searched archs")
    palette = colours(results.methods)
    for method, colour in palette.items():
        for seed in sorted(results.seeds):
            front = matching(results.searched, method=method, seed=seed)
            best = front.iloc[pareto(front.macs.tolist(), front.predicted.tolist())]
            (line,) = axes.plot(best.macs / 1e6, best.predicted, color=colour, linewidth=0.9, alpha=0.6)
            part(line, label(method))
            measured = front.dropna(subset=["measured"])
            (drawn,) = axes.plot(measured.macs / 1e6, measured.measured, "o", color=colour, markersize=4)
            facts = columns(measured, "method", "arch", "macs", "predicted").assign(top1=measured.measured)
            dots(drawn, label(method), facts.assign(of="validation", runs=runs(method, [seed])))
    handles = [Line2D([], [], color=colour, label=label(method)) for method, colour in palette.items()]
    handles += [Line2D([], [], color=SOFT, linewidth=0.9, label="predicted")]
    handles += [Line2D([], [], color=SOFT, marker="o", linestyle="", label="measured")]
    legend_below(figure, handles)
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on validation (%)")
    return figure
