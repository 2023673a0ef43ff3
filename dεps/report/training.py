"""Figures of training: curves, cost, and what is trained when."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.report.drawing import band, heading, mean_std, three_digits, titled_axes, titled_panels
from dεps.report.published import COST_DATASET, dataset_of, training_costs
from dεps.report.results import Results
from dεps.report.style import PAPER, colours, label
from dεps.report.timeline import FRAME, ROW, Bar, Span, draw
from dεps.workspace.identity import FULL_MODEL

#: the method that costs are compared with
BASE = "deps"


def curves(results: Results) -> Figure:
    """Validation accuracy of the largest and of the smallest Pareto point over epochs."""
    figure, panels = titled_panels(heading(results, "Training curves"), 1, 2, 7.2, 3.3)
    methods = [FULL_MODEL, *results.methods]
    for axes, size in zip(panels, ("largest", "smallest"), strict=True):
        column = f"val/{size}_top1"
        for method in methods if size == "largest" else results.methods:
            curve = results.history[results.history.method == method].dropna(subset=[column])
            points = mean_std(curve, ["epoch"], column)
            band(axes, points.epoch, points["mean"], points["std"], method, marker=".", markersize=4)
        axes.set(xlabel="epoch", ylabel=f"{size} arch, top-1 on validation (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [Line2D([], [], color=colours([method])[method], label=label(method)) for method in methods]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def cost(results: Results) -> Figure:
    """Training cost in MACs, the full model's share of a branched method set apart, with the ratio to DεpS."""
    figure, axes = titled_axes(results, "Training cost")
    history = results.history
    totals = {method: _final(history[history.method == method]) for method in results.methods}
    published = training_costs() if dataset_of(results.params) == COST_DATASET else {}
    for row, method in enumerate(results.methods):
        own, total = history[history.method == method], totals[method]
        alone = _final(own[own.phase == "full model"]).mean()
        alone = 0.0 if np.isnan(alone) else alone
        colour = colours([method])[method]
        axes.barh(row, alone, color=colour, alpha=0.45, hatch="//", edgecolor=PAPER)
        error = total.std() if len(total) > 1 else None
        axes.barh(row, total.mean() - alone, left=alone, color=colour, xerr=error)
        text = f"  {three_digits(total.mean())}"
        if BASE in totals:
            text += f" ({total.mean() / totals[BASE].mean():.2f} ×"
            if method in published:
                text += f"; published GPU-hours {published[method].gpu_hours / published[BASE].gpu_hours:.2f} ×"
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


def _final(history: pd.DataFrame) -> pd.Series:
    return history.groupby("seed")["cost/train_tmacs"].max()


def timeline(results: Results) -> Figure:
    """What each method trains over its epochs, from the first seed's training records."""
    figure, axes = titled_axes(results, "What is trained when")
    history = results.history[results.history.seed == results.seeds[0]]
    bars = [_bar(results, method, history[history.method == method]) for method in [FULL_MODEL, *results.methods]]
    figure.set_size_inches(figure.get_figwidth(), ROW * len(bars) + FRAME)
    draw(axes, bars)
    return figure


def _bar(results: Results, method: str, records: pd.DataFrame) -> Bar:
    options = results.params["methods"].get(method, {})
    spans: list[Span] = []
    # The first epoch may be a part of the trunk's, the last one a part of an epoch.
    per_epoch = records.step.iloc[0] / records.epoch.iloc[0]
    begun = [(name, start) for phases in records.phases.dropna() for name, start in phases.items()]
    ends = [*(start for _, start in begun[1:]), records.step.iloc[-1] / per_epoch]
    for (name, start), end in zip(begun, ends, strict=True):
        # Those of epochs that the phase has a part of.
        epochs = [record for record in records.to_dict("records") if start < record["epoch"] < end + 1]
        weights = [(min(epoch["epoch"], end), weight) for epoch in epochs if not np.isnan(weight := _weight(epoch))]
        full = all(not np.isnan(epoch.get("train/loss_full", np.nan)) for epoch in epochs)
        if weights:
            # Records hold the weight at an epoch's end; a ramp begins at ε, and may be over before the first of them.
            ramp, first = options.get("ramp_epochs", 0.0), weights[0][1]
            begin = (
                [(start, options.get("epsilon", 0.0)), (min(start + ramp, start + 1), first)]
                if ramp
                else [(start, first)]
            )
            weights = sorted({*begin, *weights})
        taught = not full and any(span.full for span in spans)
        spans.append(Span(name, start, end, full, taught and bool(weights), tuple(weights)))
    return Bar(method, tuple(spans))


def _weight(record: dict[str, float]) -> float:
    return record.get("train/subnet_weight", np.nan)
