"""Line charts of validation accuracy over epochs, largest and smallest arch, one line a method."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import matching
from dεps.report.drawing import band, heading, titled_panels
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.statistics import mean_std
from dεps.report.style import colours, label
from dεps.workspace.identity import FULL_MODEL

ABOUT = About(
    title="Training curves",
    section="Training",
    order=22,
    note="The largest and the smallest arch of the table. Where a method begins with the full model the smallest is "
    "untrained until shrinking starts.",
    sources=("full_model/history.jsonl", "train/history.jsonl", "evaluate/pareto.csv"),
    compares_points=True,
)


def draw(results: Results) -> Figure:
    """One line of means over seeds a method; the full model has no smallest arch."""
    figure, panels = titled_panels(heading(results, "Training curves"), 1, 2, 7.2, 3.3)
    methods = [FULL_MODEL, *results.methods]
    palette = colours(methods)
    for axes, size in zip(panels, ("largest", "smallest"), strict=True):
        name = f"val/{size}_top1"
        for method in methods if size == "largest" else results.methods:
            curve = matching(results.history, method=method).dropna(subset=[name])
            points = mean_std(curve, ["epoch"], name)
            band(axes, points.epoch, points, color=palette[method], marker=".", markersize=4)
        axes.set(xlabel="epoch", ylabel=f"{size} arch, top-1 on validation (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], color=palette[method], label=label(method)) for method in methods]
    figure.legend(handles=handles, loc="outside right upper")
    return figure
