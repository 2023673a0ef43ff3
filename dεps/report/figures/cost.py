"""Bar chart of training cost in MACs, one bar a method, with its ratio to DεpS."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from dεps.core.tables import matching
from dεps.report.drawing import three_digits, titled_axes
from dεps.report.published import COST_DATASET, dataset_of, gpu_hours
from dεps.report.registry import About
from dεps.report.results import Results, training_cost
from dεps.report.statistics import Sample
from dεps.report.style import PAPER, colours, label

ABOUT = About(
    title="Training cost",
    section="Training",
    order=20,
    note="Every MAC of every forward and backward counts, those of the full model that a method starts from too, so "
    "the numbers do not depend on the machine.",
    sources=("full_model/history.jsonl", "train/history.jsonl"),
)
#: the method that costs are compared with
BASE = "deps"


def draw(results: Results) -> Figure:
    """One bar of the mean over seeds a method; its hatched part is the full model trained alone."""
    figure, axes = titled_axes(results, "Training cost")
    totals = {method: training_cost(matching(results.history, method=method)) for method in results.methods}
    published = gpu_hours() if dataset_of(results.params) == COST_DATASET else {}
    for row, method in enumerate(results.methods):
        total = totals[method]
        alone = training_cost(matching(results.history, method=method, phase="full model")).mean()
        alone = 0.0 if np.isnan(alone) else alone
        colour = colours(results.methods)[method]
        axes.barh(row, alone, color=colour, alpha=0.45, hatch="//", edgecolor=PAPER)
        axes.barh(row, total.mean() - alone, left=alone, color=colour, xerr=Sample.of(total).std)
        text = f"  {three_digits(total.mean())}"
        if BASE in totals:
            text += f" ({total.mean() / totals[BASE].mean():.2f} ×"
            if method in published:
                text += f"; published GPU-hours {published[method] / published[BASE]:.2f} ×"
            text += ")"
        axes.text(total.mean(), row, text, va="center", fontsize=8)
    axes.set_yticks(range(len(results.methods)), [label(method) for method in results.methods])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, max(total.mean() for total in totals.values()) * (1.6 if published else 1.22))
    axes.grid(axis="y", visible=False)
    relative = f"; in brackets: relative to {label(BASE)}" if BASE in totals else ""
    axes.set_xlabel(f"training cost (10¹² MACs; hatched: full model alone{relative})")
    return figure
