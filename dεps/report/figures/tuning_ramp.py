"""The full model's accuracy over epochs and the fronts, with and without the ramp."""

from __future__ import annotations

from matplotlib.figure import Figure

from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import draw_ablation

ABOUT = About(
    title="ε ramp",
    section="Ablations",
    order=41,
    note="Above, the full model around shrink start; below, the fronts, with the gain of each point above it. One "
    "seed: gains of a few tenths may be chance.",
    sources=("tune/trials.csv", "tune/points.csv", "tune/curves.csv", "full_model/history.jsonl"),
)


def draw(results: Results) -> Figure:
    """The earliest pair of trials that differ in the ramp only."""
    column, published = "val/largest_top1", ["deps", "deps_no_epsilon"]
    return draw_ablation(results, "The ε ramp", "ramp_epochs", 0.0, "ramp", column, "full model", published)
