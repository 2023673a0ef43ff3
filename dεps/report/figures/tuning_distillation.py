"""The smallest subnet's accuracy over epochs and the fronts, with and without distillation and from scratch."""

from __future__ import annotations

from matplotlib.figure import Figure

from dεps.core.tables import columns, matching
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import Variant, draw_ablation
from dεps.report.style import colours, label

ABOUT = About(
    title="In-place distillation",
    section="Ablations",
    order=42,
    note="Subnets distilled from the partially trained full model, trained on labels instead, and distilled from "
    "scratch, as BigNAS does. Numbers: gain of the first over the second.",
    sources=(
        "tune/trials.csv",
        "tune/points.csv",
        "tune/curves.csv",
        "full_model/history.jsonl",
        "train/history.jsonl",
        "evaluate/pareto.csv",
    ),
)
#: the method that distils in place from the first step
FROM_SCRATCH = "bignas"
_COLUMN = "val/smallest_top1"


def draw(results: Results) -> Figure:
    """The earliest pair of trials that differ in distillation only, and BigNAS where it was trained with their seed."""
    title, others = "In-place distillation", _from_scratch(results)
    return draw_ablation(results, title, "distill", False, "distillation", _COLUMN, "smallest arch", others=others)


def _from_scratch(results: Results) -> list[Variant]:
    """The method that distils from the first step, where the study's seed of it was trained."""
    seed = results.params["tuning"]["seed"]
    if FROM_SCRATCH not in results.methods or seed not in results.seeds:
        return []
    curve = matching(results.history, method=FROM_SCRATCH, seed=seed).dropna(subset=[_COLUMN])
    front = matching(results.pareto, method=FROM_SCRATCH, seed=seed).sort_values("macs")
    style = {"color": colours([FROM_SCRATCH])[FROM_SCRATCH], "linestyle": "-.", "marker": "^"}
    return [Variant(f"from scratch, as {label(FROM_SCRATCH)}", columns(curve, "epoch", _COLUMN), front, style)]
