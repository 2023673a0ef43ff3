"""Line chart of predicted accuracy of searched archs over MACs, with dots where it was measured."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dεps.core.tables import matching
from dεps.report.drawing import BESIDE, titled_axes
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import SOFT, colours, label

ABOUT = About(
    title="Fronts found by search",
    section="Prediction and search",
    order=31,
    note="NSGA-II on predicted accuracy and MACs; dots were measured with the supernet's weights.",
    sources=("search/front.csv",),
)


def draw(results: Results) -> Figure:
    """One line a method and seed."""
    figure, axes = titled_axes(results, "Searched archs")
    palette = colours(results.methods)
    for method, colour in palette.items():
        for seed in sorted(results.seeds):
            front = matching(results.searched, method=method, seed=seed)
            axes.plot(front.macs / 1e6, front.predicted, color=colour, linewidth=0.9, alpha=0.6)
            measured = front.dropna(subset=["measured"])
            axes.plot(measured.macs / 1e6, measured.measured, "o", color=colour)
    handles = [Line2D([], [], color=colour, label=label(method)) for method, colour in palette.items()]
    handles += [Line2D([], [], color=SOFT, linewidth=0.9, label="predicted")]
    handles += [Line2D([], [], color=SOFT, marker="o", linestyle="", label="measured")]
    axes.legend(handles=handles, **BESIDE)
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on validation (%)")
    return figure
