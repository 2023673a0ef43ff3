"""The figures: each takes the results of one experiment and returns a matplotlib figure.

Lines are means over seeds and bands or bars the standard deviation; every figure says how many seeds it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dεps.identity import FULL_MODEL
from dεps.reporting.published import dataset_of, pareto_points
from dεps.reporting.results import Results
from dεps.reporting.style import colours, label
from dεps.reporting.timeline import FRAME, ROW, Bar, Span, draw

#: a legend beside the axes, where six methods hide nothing
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


class FigureKind(NamedTuple):
    """One figure of the report."""

    name: str
    title: str
    alt: str
    draw: Callable[[Results], Figure]


def _axes(results: Results, title: str) -> tuple[Figure, Axes]:
    figure = Figure()
    axes = figure.subplots()
    count = len(results.seeds)
    axes.set_title(f"{title} ({results.manifest['name']}, {count} seed{'s' if count > 1 else ''})", loc="left")
    return figure, axes


def _band(axes: Axes, x: np.ndarray, mean: np.ndarray, std: np.ndarray, method: str, **line: object) -> None:
    colour = colours([method])[method]
    axes.plot(x, mean, color=colour, label=label(method), **line)
    if np.nanmax(std, initial=0.0) > 0:
        axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def _mean_std(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    grouped = frame.groupby(by, sort=True)[value]
    return pd.DataFrame({"mean": grouped.mean(), "std": grouped.std(ddof=0)}).reset_index()


def pareto(results: Results) -> Figure:
    """Test accuracy over MACs through the Pareto points, of what was trained alone, and as published for this data."""
    figure, axes = _axes(results, "Pareto points")
    grey = colours(["full_model"])["full_model"]
    for method in results.methods:
        points = _mean_std(results.pareto[results.pareto.method == method], ["macs"], "test_top1")
        _band(axes, points.macs / 1e6, points["mean"], points["std"], method, marker="o")
    own = results.pareto[results.pareto.method == results.methods[0]].drop_duplicates("name").sort_values("macs")
    reference = results.reference["reference/full_model_top1"]
    axes.plot(own.macs.max() / 1e6, reference, "*", color=grey, markersize=10)
    alone = _mean_std(results.standalone, ["macs", "arch"], "test_top1")
    error = alone["std"] if len(results.seeds) > 1 else None
    diamond = {"fmt": "D", "color": grey, "markersize": 5, "zorder": 3, "label": "trained alone"}
    axes.errorbar(alone.macs / 1e6, alone["mean"], yerr=error, **diamond)
    published = _published(axes, results)
    _name_archs(axes, own)  # after all points: it settles the limits
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on test (%)")
    star = Line2D([], [], marker="*", linestyle="", color=grey, markersize=9)
    handles, names = axes.get_legend_handles_labels()
    labels = [*names, "full model alone", *(line.get_label() for line in published)]
    axes.legend([*handles, star, *published], labels, **BESIDE)
    return figure


def _published(axes: Axes, results: Results) -> list[Line2D]:
    """Draw the published points of the selected methods; their entry of the legend, or none."""
    points = pareto_points(dataset_of(results.params) or "")
    style = {"linestyle": "--", "linewidth": 0.9, "marker": "o", "markerfacecolor": "none", "markersize": 4.5}
    there = [method for method in results.methods if method in points]
    for method in there:
        macs, top1 = [point.macs / 1e6 for point in points[method]], [point.top1 for point in points[method]]
        axes.plot(macs, top1, color=colours([method])[method], **style)
    return [Line2D([], [], color="0.4", label="published (±0.05)", **style)] if there else []


def _name_archs(axes: Axes, points: pd.DataFrame) -> None:
    """Names of the Pareto points along the lower edge; neighbours too close to read are pushed apart."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.16 * (high - low), high)
    gap, right = 0.035 * (points.macs.max() - points.macs.min()) / 1e6, float("-inf")
    for _, point in points.iterrows():
        right = max(point.macs / 1e6, right + gap)
        place = (right, axes.get_ylim()[0])
        axes.annotate(point["name"], place, rotation=90, fontsize=6.5, color="0.4", ha="center", va="bottom")


def curves(results: Results) -> Figure:
    """Validation accuracy of the largest and the smallest arch over epochs."""
    figure, axes = _axes(results, "Training curves")
    methods = ["full_model", *results.methods]
    for method in methods:
        for size, style in (("largest", "-"), ("smallest", ":")):
            column = f"val/{size}_top1"
            if method == "full_model" and size == "smallest":
                continue
            curve = results.history[results.history.method == method].dropna(subset=[column])
            points = _mean_std(curve, ["epoch"], column)
            _band(axes, points.epoch, points["mean"], points["std"], method, linestyle=style)
    handles = [Line2D([], [], color=colours([method])[method], label=label(method)) for method in methods]
    handles += [Line2D([], [], color="0.4", linestyle=s, label=n) for n, s in (("largest", "-"), ("smallest", ":"))]
    axes.legend(handles=handles, **BESIDE)
    axes.set(xlabel="epoch", ylabel="top-1 on validation (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def cost(results: Results) -> Figure:
    """Training cost in MACs, the full model's share of a branched method set apart."""
    figure, axes = _axes(results, "Training cost")
    history = results.history
    for row, method in enumerate(results.methods):
        own = history[history.method == method]
        total = own.groupby("seed")["cost/train_tmacs"].max()
        alone = own[own.phase == "full model"].groupby("seed")["cost/train_tmacs"].max().mean()
        alone = 0.0 if np.isnan(alone) else alone
        colour = colours([method])[method]
        axes.barh(row, alone, color=colour, alpha=0.45, hatch="//", edgecolor="white")
        axes.barh(
            row, total.mean() - alone, left=alone, color=colour, xerr=total.std(ddof=0) if len(total) > 1 else None
        )
        axes.text(total.mean(), row, f"  {total.mean():.2f}", va="center", fontsize=8)
    axes.set_yticks(range(len(results.methods)), [label(method) for method in results.methods])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("10¹² MACs of all forwards and backwards (hatched: the full model alone)")
    return figure


def timeline(results: Results) -> Figure:
    """What each method trains over its epochs, from the first seed's training records."""
    figure, axes = _axes(results, "What is trained when")
    history = results.history[results.history.seed == results.seeds[0]]
    bars = [_bar(results, method, history[history.method == method]) for method in [FULL_MODEL, *results.methods]]
    figure.set_size_inches(figure.get_figwidth(), ROW * len(bars) + FRAME)
    draw(axes, bars)
    return figure


def _bar(results: Results, method: str, records: pd.DataFrame) -> Bar:
    options = results.params["methods"].get(method, {})
    spans: list[Span] = []
    for name, group in groupby(records.to_dict("records"), lambda record: record["phase"]):
        epochs = list(group)
        start, end = epochs[0]["epoch"] - 1, epochs[-1]["epoch"]
        weights = [(epoch["epoch"], weight) for epoch in epochs if not np.isnan(weight := _weight(epoch))]
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


def population(results: Results) -> Figure:
    """Test accuracy of random archs in buckets of equal MAC range: medians and spread (RSS's figure)."""
    figure, axes = _axes(results, "Random archs per MAC bucket")
    table = results.population.assign(Method=results.population.method.map(label))
    centres = (table.groupby("bucket").macs.mean() / 1e6).round(2)
    table["MACs"] = table.bucket.map(centres)
    palette = {label(method): colour for method, colour in colours(results.methods).items()}
    sns.boxplot(table, x="MACs", y="test_top1", hue="Method", palette=palette, fliersize=1.5, linewidth=0.8, ax=axes)
    axes.set(xlabel="mean MACs of the bucket (millions)", ylabel="top-1 on test (%)")
    axes.legend(title=f"{int(table.groupby(['method', 'bucket']).size().median())} archs a box", **BESIDE)
    return figure


def predictor(results: Results) -> Figure:
    """Predicted over measured accuracy of held-out archs."""
    figure, axes = _axes(results, "Accuracy predictor, held-out archs")
    for method in results.methods:
        own = results.predictions[results.predictions.method == method]
        tau = results.metrics[results.metrics.method == method]["predictor/kendall_tau"].mean()
        name = f"{label(method)}, τ = {tau:.2f}"
        axes.plot(
            own.measured, own.predicted, "o", color=colours([method])[method], alpha=0.7, label=name, markersize=4
        )
    values = results.predictions[["measured", "predicted"]]
    ends = [values.min().min(), values.max().max()]
    axes.plot(ends, ends, color="0.6", linewidth=0.8)
    axes.set(xlabel="measured top-1 on validation (%)", ylabel="predicted (%)")
    axes.legend(**BESIDE)
    return figure


def searched(results: Results) -> Figure:
    """The fronts that search found: predicted, and measured where measured."""
    figure, axes = _axes(results, "Searched archs")
    for method in results.methods:
        own, colour = results.searched[results.searched.method == method], colours([method])[method]
        for _, front in own.groupby("seed"):
            axes.plot(front.macs / 1e6, front.predicted, color=colour, linewidth=0.9, alpha=0.6)
            measured = front.dropna(subset=["measured"])
            axes.plot(measured.macs / 1e6, measured.measured, "o", color=colour)
    handles = [Line2D([], [], color=colours([method])[method], label=label(method)) for method in results.methods]
    handles += [Line2D([], [], color="0.4", linewidth=0.9, label="predicted")]
    handles += [Line2D([], [], color="0.4", marker="o", linestyle="", label="measured")]
    axes.legend(handles=handles, **BESIDE)
    axes.set(xlabel="MACs (millions)", ylabel="top-1 on validation (%)")
    return figure


FIGURES = [
    FigureKind("pareto", "Pareto fronts", "Test accuracy over MACs, one line a method", pareto),
    FigureKind("curves", "Training curves", "Validation accuracy over epochs of largest and smallest arch", curves),
    FigureKind("cost", "Training cost", "Bars of training cost in MACs, one a method", cost),
    FigureKind("timeline", "Timelines", "Bars of the phases of each method over epochs, by what they train", timeline),
    FigureKind("population", "Population", "Box plots of the test accuracy of random archs per MAC bucket", population),
    FigureKind("predictor", "Accuracy predictor", "Predicted over measured accuracy of held-out archs", predictor),
    FigureKind("search", "Searched archs", "Predicted and measured accuracy of searched archs over MACs", searched),
]
