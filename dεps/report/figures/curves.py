"""Line charts of validation accuracy over epochs, largest and smallest arch, one line a method."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import column, matching
from dεps.report.drawing import band, heading, legend_below, titled_panels
from dεps.report.marks import runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.statistics import mean_std
from dεps.report.style import colours, label
from dεps.workspace.identity import FULL_MODEL

ABOUT = About(
    title="Training curves",
    section="Training",
    order=22,
    note="The largest and the smallest arch of the table; means over seeds, bands one standard deviation. Where a "
    "method begins with the full model, the smallest is untrained until shrinking starts; the full model alone, in "
    "grey, lies under the lines that begin with it, and has no smallest. Variants of a method that is here too are "
    "among the differences.",
    sources=("full_model/history.jsonl", "train/history.jsonl", "evaluate/pareto.csv"),
    compares_points=True,
    variants=False,
)


def draw(results: Results) -> Figure:
    """One line of means over seeds a method; the full model has no smallest arch."""
    figure, panels = titled_panels(heading(results, "Training curves"), 2, 1, 5.0, sharex=True)
    methods = [FULL_MODEL, *results.methods]
    palette = colours(methods)
    for axes, size in zip(panels, ("largest", "smallest"), strict=True):
        name = f"val/{size}_top1"
        for method in methods if size == "largest" else results.methods:
            curve = matching(results.history, method=method).dropna(subset=[name])
            points = mean_std(curve, ["epoch"], name)
            facts = {"method": method, "arch": size, "epoch": points.epoch, "top1": points["mean"], "of": "validation"}
            style = {"color": palette[method], "marker": ".", "markersize": 4, "linewidth": 1.3}
            if method == FULL_MODEL:  # the methods that begin with it would hide it
                style |= {"linewidth": 4.0, "alpha": 0.35, "zorder": 1}
            if np.nanmax(column(points, "std"), initial=0.0) > 0:
                facts["± over seeds"] = points["std"]
            frame = pd.DataFrame(facts).assign(runs=runs(method, results.seeds))
            band(axes, points.epoch, points, label(method), frame, **style)
        axes.set(ylabel=f"{size}, validation (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set_xlabel("epoch")
    legend_below(figure)
    return figure
