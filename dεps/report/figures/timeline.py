"""Timeline of the phases of each method over epochs, by what they train.

A bar's lower band is the full model: grey where it learns, hatched where its frozen copy only teaches. Above it, in the
method's colour, are the subnets, as high as their losses weigh; the ε ramp is a rising wedge. `deps plan` draws the
same bars of what has not been trained yet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dεps.core.tables import column, matching, records
from dεps.report.drawing import titled_axes
from dεps.report.marks import area
from dεps.report.phases import Bar, Span
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import FAINT, FULL, PAPER, SOFT, colours, label
from dεps.workspace.identity import FULL_MODEL

ABOUT = About(
    title="What is trained when",
    section="Training",
    order=21,
    note="Bars are as high as the losses weigh: a rising wedge is the ε ramp. At the right the epochs. Names that do "
    "not fit are left out. First seed; the others do the same.",
    sources=("full_model/history.jsonl", "train/history.jsonl"),
)
#: in rows: height of a bar, and the full model's part of it where subnets learn too
HEIGHT, BAND = 0.56, 0.15
#: inches per row, and inches for title, axis and legend
ROW, FRAME = 0.48, 1.55
_SMALL = 6.5
#: width of a character of the default font, in units of its size
_CHARACTER = 0.56


def draw(results: Results) -> Figure:
    """One bar per method, from the first seed's training records."""
    figure, axes = titled_axes(results, "What is trained when")
    bars = [_bar(results, method) for method in (FULL_MODEL, *results.methods)]
    figure.set_size_inches(figure.get_figwidth(), ROW * len(bars) + FRAME)
    draw_bars(figure, axes, bars)
    return figure


def _bar(results: Results, method: str) -> Bar:
    """Phases of one method, from the first seed's records, one row per epoch."""
    history = matching(results.history, method=method, seed=results.seeds[0])
    options = results.params["methods"].get(method, {})
    spans: list[Span] = []
    step, epoch = column(history, "step"), column(history, "epoch")
    # The first epoch may be a part of the trunk's, the last one a part of an epoch.
    per_epoch = step.iloc[0] / epoch.iloc[0]
    begun = [(name, start) for phases in column(history, "phases").dropna() for name, start in phases.items()]
    ends = [*(start for _, start in begun[1:]), step.iloc[-1] / per_epoch]
    for (name, start), end in zip(begun, ends, strict=True):
        # Those of epochs that the phase has a part of.
        epochs = [record for record in records(history) if start < record["epoch"] < end + 1]
        shrinking = [record for record in epochs if _has(record, "subnet_weight")]
        weights = [(min(record["epoch"], end), record["train/subnet_weight"]) for record in shrinking]
        full = all(_has(epoch, "loss_full") for epoch in epochs)
        if weights:
            # Records hold the weight at an epoch's end; a ramp begins at ε, and may be over before the first of them.
            ramp, first = options.get("ramp_epochs", 0.0), weights[0][1]
            begin = {(start, first)}
            if ramp:
                begin = {(start, options.get("epsilon", 0.0)), (min(start + ramp, start + 1), first)}
            weights = sorted({*begin, *weights})
        taught = not full and any(span.full for span in spans)
        spans.append(Span(name, start, end, full, taught and bool(weights), tuple(weights)))
    return Bar(method, tuple(spans))


def _has(record: dict[str, float], name: str) -> bool:
    return not np.isnan(record.get(f"train/{name}", np.nan))


def blocks(timelines: Sequence[tuple[str, Sequence[Bar]]]) -> Figure:
    """A figure of several blocks of bars, one below the other, from pairs (title, bars)."""
    counts = [len(bars) for _, bars in timelines]
    result = Figure(figsize=(5.6, sum(ROW * count + FRAME for count in counts)))
    panels = result.subplots(len(counts), squeeze=False, height_ratios=[count + 1.5 for count in counts])[:, 0]
    for axes, (title, bars) in zip(panels, timelines, strict=True):
        axes.set_title(title, loc="left")
        draw_bars(result, axes, bars)
    return result


def draw_bars(figure: Figure, axes: Axes, bars: Sequence[Bar]) -> None:
    """Draw bars, phase names and legend on `axes` of a figure of its final width and about ROW inches a bar."""
    horizon = max(bar.epochs for bar in bars)
    points_per_epoch = figure.get_figwidth() * 72 * 0.8 / horizon
    palette = colours([bar.method for bar in bars])
    for row, bar in enumerate(bars):
        for span in bar.phases:
            _draw_span(axes, row, span, palette[bar.method])
            facts = {
                "phase": span.name,
                "epochs": f"{span.start:.4g} to {span.end:.4g}",
                "full model": "trains" if span.full else "teaches, frozen" if span.teacher else "-",
                "networks that a step trains": span.subnets,
            }
            area(axes, span.start, row - HEIGHT / 2, span.end - span.start, HEIGHT, label(bar.method), facts)
        _name_phases(axes, row, bar, points_per_epoch)
        axes.text(bar.epochs + 0.008 * horizon, row, f"{bar.epochs:.4g}", va="center", fontsize=8)
    axes.set_xlim(0, horizon * 1.06)
    axes.set_ylim(len(bars) - 0.5, -0.62)
    axes.set_yticks(range(len(bars)), [label(bar.method) for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    numbered = any(span.subnets for bar in bars for span in bar.phases)
    axes.set_xlabel("epoch" + (" (numbers in the bars: networks that a step trains)" if numbered else ""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    below = -0.44 / (ROW * len(bars))
    axes.legend(handles=_legend(bars), loc="upper center", bbox_to_anchor=(0.44, below), ncols=2, fontsize=8)


def _draw_span(axes: Axes, row: int, span: Span, colour: str) -> None:
    bottom, top = row + HEIGHT / 2, row - HEIGHT / 2
    width = span.end - span.start
    line = {"edgecolor": PAPER, "linewidth": 0.6}
    if not span.weights:
        axes.barh(row, width, HEIGHT, span.start, color=FULL, **line)
        return
    base = bottom - BAND if span.full or span.teacher else bottom
    if base < bottom:
        fill = {"color": FULL} if span.full else {"facecolor": PAPER, "hatch": "//////"}
        edge = line if span.full else {"edgecolor": FULL, "linewidth": 0.0}
        axes.barh(bottom - BAND / 2, width, BAND, span.start, **fill, **edge)
    # A wedge on a pale ground: what is missing to the full weight stays visible as missing.
    axes.barh((base + top) / 2, width, base - top, span.start, color=colour, alpha=0.16, linewidth=0)
    epochs = [epoch for epoch, _ in span.weights]
    heights = [base - min(weight, 1.0) * (base - top) for _, weight in span.weights]
    axes.fill_between(epochs, base, heights, facecolor=colour, linewidth=0)
    axes.plot([span.start] * 2, [bottom, top], color=PAPER, linewidth=0.8, solid_capstyle="butt")


def _name_phases(axes: Axes, row: int, bar: Bar, points_per_epoch: float) -> None:
    """Write numbers of networks into a bar, and names of phases above it where they fit, "depth 1" and 2 as one."""
    for span in bar.phases:
        place = row - BAND / 2 if span.weights and (span.full or span.teacher) else row
        centre, text = (span.start + span.end) / 2, str(span.subnets or "")
        axes.text(centre, place, text, color=PAPER, fontsize=7.5, ha="center", va="center")
    for name, group in groupby(bar.phases, lambda span: re.sub(r" \d+$", "", span.name)):
        spans = list(group)
        start, end, above = spans[0].start, spans[-1].end, row - HEIGHT / 2 - 0.03
        if len(name) * _SMALL * _CHARACTER <= (end - start) * points_per_epoch:
            axes.text((start + end) / 2, above, name, color=SOFT, fontsize=_SMALL, ha="center", va="bottom")


def _legend(bars: Sequence[Bar]) -> list[Patch]:
    spans = [span for bar in bars for span in bar.phases]
    handles = [Patch(color=FULL, label="full model trains")]
    if any(span.teacher for span in spans):
        handles.append(Patch(facecolor=PAPER, edgecolor=FULL, hatch="//////", linewidth=0, label="it teaches, frozen"))
    ramps = any(span.weights and span.weights[0][1] < span.weights[-1][1] for span in spans)
    if any(span.weights for span in spans):
        handles.append(Patch(color=FAINT, label="subnets train" + (" (wedge: ε ramp)" if ramps else "")))
    return handles
