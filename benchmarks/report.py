"""The table of comparisons as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.growth import LINEAR, Growth
from benchmarks.timing import COST, GAIN, SPEEDUP, Comparison
from dεps.core.console import plural

HEAD = """\
# Benchmarks

Written by `make bench`. Each line is two ways of doing the same work, timed in turn in one run on one machine: what
counts is the ratio, the median over rounds of neighbours in time. Medians of both sides, with the least and the most.
[profile.md](profile.md) says where a step's time goes and what limits the lines that are missed.
"""


def markdown(comparisons: Sequence[Comparison], curves: Sequence[Growth], picture: Path) -> str:
    """The whole page."""
    rows = ["| work | ours | against | theirs | ratio | wanted | |", "|---|---|---|---|---|---|---|"]
    rows += [_row(comparison) for comparison in comparisons]
    growth = ["| growth | exponent | |", "|---|---|---|"]
    growth += [
        f"| {c.title}, over {c.x_label} | {c.exponent:.2f} | {'' if c.exponent <= LINEAR else 'more than linear'} |"
        for c in curves
    ]
    parts = [HEAD.strip(), machine(), "\n".join(rows)]
    return "\n\n".join([*parts, *([f"![Growth]({picture.name})", "\n".join(growth)] if curves else [])]) + "\n"


def machine() -> str:
    """Where it ran; no name of it."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    each = plural(torch.get_num_threads(), "thread")
    return f"{cpu}, {cores} cores, {each} a process; Python {platform.python_version()}, torch {torch.__version__}."


def line(comparison: Comparison) -> str:
    """For a terminal."""
    against = "" if comparison.against == "1 s" else f" {comparison.against}"
    return f"{comparison.work}: {_ratio(comparison)}{against} (wanted: {_wanted(comparison)})"


def _row(c: Comparison) -> str:
    work = c.work + (f" ({c.note})" if c.note else "")
    mark = "" if np.isinf(c.limit) else "reached" if c.reached else "**missed**"
    other = ["–", "–"] if c.against == "1 s" else [c.against, _side(c.theirs, c.unit)]
    cells = [work, _side(c.ours, c.unit), *other, _ratio(c), _wanted(c), mark]
    return f"| {' | '.join(cells)} |"


def _side(values: Sequence[float], unit: str) -> str:
    scale, name = (1000, "ms") if unit == "s" and np.median(values) < 0.2 else (1, unit)
    scaled = [scale * value for value in values]
    middle = f"{_number(float(np.median(scaled)))} {name}".strip()
    return middle if len(scaled) == 1 else f"{middle} ({_number(min(scaled))}–{_number(max(scaled))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _ratio(c: Comparison) -> str:
    if c.against == "1 s":
        return f"{c.ratio:.3g} s"
    return f"{c.ratio:.3g} ×" + (" faster" if c.kind == SPEEDUP else "")


def _wanted(c: Comparison) -> str:
    if np.isinf(c.limit):
        return "–"
    sign = "≤" if c.kind == COST else "≥"
    return f"{sign} {c.limit:g}" + (" s" if c.against == "1 s" else " ×" if c.kind != GAIN else "")
