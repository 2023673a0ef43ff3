"""Validation accuracy of the largest and of the smallest Pareto point over epochs, one panel an arch."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import column, matching
from dεps.report.drawing import band, heading, mean_std, titled_panels
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import colours, label
from dεps.workspace.identity import FULL_MODEL

ABOUT = About(
    title="Training curves",
    section="Training",
    order=22,
    alt="Line charts of validation accuracy over epochs, largest and smallest arch, one line a method",
    note="The largest and the smallest arch of the table. Where a method begins with the full model the smallest is "
    "untrained until shrinking starts.",
    sources=("full_model/history.jsonl", "train/history.jsonl", "evaluate/pareto.csv"),
    compares_points=True,
)


def draw(results: Results) -> Figure:
    """One line of means over seeds a method; the full model has no smallest arch."""
    figure, panels = titled_panels(heading(results, "Training curves"), 1, 2, 7.2, 3.3)
    methods = [FULL_MODEL, *results.methods]
    for axes, size in zip(panels, ("largest", "smallest"), strict=True):
        name = f"val/{size}_top1"
        for method in methods if size == "largest" else results.methods:
            curve = matching(results.history, method=method).dropna(subset=[name])
            points = mean_std(curve, ["epoch"], name)
            mean, std = column(points, "mean"), column(points, "std")
            band(axes, points.epoch, mean, std, method, marker=".", markersize=4)
        axes.set(xlabel="epoch", ylabel=f"{size} arch, top-1 on validation (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], color=colours([method])[method], label=label(method)) for method in methods]
    figure.legend(handles=handles, loc="outside right upper")
    return figure
