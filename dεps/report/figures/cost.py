"""Bar chart of training cost in MACs, one bar a method, with its ratio to DεpS."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dεps.core.tables import matching
from dεps.report.drawing import WIDTH, three_digits, titled_axes
from dεps.report.marks import dots, part, runs
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
    "the numbers do not depend on the machine. In brackets the ratio to DεpS, and after it the ratio of the published "
    "GPU-hours, where there are any.",
    sources=("full_model/history.jsonl", "train/history.jsonl"),
)
#: the method that costs are compared with
BASE = "deps"


def draw(results: Results) -> Figure:
    """One bar of the mean over seeds a method; its hatched part is the full model trained alone."""
    figure, axes = titled_axes(results, "Training cost")
    figure.set_size_inches(WIDTH, 0.95 + 0.4 * len(results.methods))
    totals = {method: training_cost(matching(results.history, method=method)) for method in results.methods}
    published = gpu_hours() if dataset_of(results.params) == COST_DATASET else {}
    for row, method in enumerate(results.methods):
        total = totals[method]
        alone = training_cost(matching(results.history, method=method, phase="full model")).mean()
        alone = 0.0 if np.isnan(alone) else alone
        colour = colours(results.methods)[method]
        rest = total.mean() - alone
        shares = {}
        if alone:
            look = {"color": colour, "alpha": 0.45, "hatch": "//", "edgecolor": PAPER}
            shares["full model alone"] = axes.barh(row, alone, 0.7, **look)
        shares["with subnets"] = axes.barh(row, rest, 0.7, left=alone, color=colour, xerr=Sample.of(total).std)
        for name, bar in shares.items():
            facts = {"method": method, "part": name, "TMACs of it": bar[0].get_width()}
            facts |= {"TMACs in all": total.mean(), "± over seeds": Sample.of(total).std}
            dots(bar[0], label(method), pd.DataFrame([facts | {"runs": runs(method, results.seeds)}]))
        for error in filter(None, [shares["with subnets"].errorbar]):
            part(error.lines[2][0], label(method))
        text = f"  {three_digits(total.mean())}"
        if BASE in totals:
            text += f" ({total.mean() / totals[BASE].mean():.2f} ×"
            if method in published:
                text += f"; {published[method] / published[BASE]:.2f} ×"
            text += ")"
        axes.text(total.mean(), row, text, va="center", fontsize=8)
    axes.set_yticks(range(len(results.methods)), [label(method) for method in results.methods])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(results.methods) - 0.45, -0.55)
    axes.set_xlim(0, max(total.mean() for total in totals.values()) * (1.55 if published else 1.4))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("training cost (10¹² MACs; hatched: full model alone)")
    return figure
