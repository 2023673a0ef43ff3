"""Scatter plot of accuracy over training cost of all trials, with their front and the other methods."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dεps.core.console import plural
from dεps.core.tables import column, matching, rows_where
from dεps.report.drawing import at_edge, hold, legend_below
from dεps.report.marks import dots, runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import DEPS, TOP1, complete, study_axes, trials_of
from dεps.report.style import FAINT, FULL, colours, label

ABOUT = About(
    title="Accuracy and cost",
    section="Study",
    order=50,
    note="The ring is the trial in best.yaml: the most accurate on validation of those that cost no more than the "
    "legend says. So a cheaper trial on the front is not the best, since it is less accurate, nor is one that costs "
    "more than that. The star is DεpS as preset, diamonds are the other methods. One seed: differences of a few tenths "
    "may be chance. Arrows on the lower edge are trials far below it.",
    sources=(
        "tune/trials.csv",
        "tune/summary.json",
        "train/summary.json",
        "evaluate/metrics.json",
        "evaluate/pareto.csv",
    ),
    compares_points=True,
)


def draw(results: Results) -> Figure:
    """One dot a trial; methods of the study's seed."""
    figure, axes = study_axes(results, "Accuracy against training cost")
    # Variants of DεpS are trials' points, most of them among these.
    trials, others = complete(results), [method for method in results.compared.methods if method != "deps"]
    methods = {
        method: matching(results.metrics, method=method, seed=results.params["tuning"]["seed"]) for method in others
    }
    known = [column(own, "pareto/mean_val_top1") for own in methods.values() if "pareto/mean_val_top1" in own]
    marked = rows_where(trials, trials.front | trials.best | (trials.point == "base"))
    values, always = (pd.concat([column(own, "val_top1"), *known]) for own in (trials, marked))
    bottom = hold(axes, values, always)
    kept = rows_where(trials, trials.val_top1 >= bottom)
    (drawn,) = axes.plot(kept.train_tmacs, kept.val_top1, "o", color=FAINT, label="trial", markersize=4.5)
    dots(drawn, "trial", trials_of(kept, "val_top1"))
    for cost, value in zip(trials.train_tmacs, trials.val_top1, strict=True):
        if value < bottom:
            at_edge(axes, cost, value)
    best = matching(trials, front=True).sort_values("train_tmacs")
    (drawn,) = axes.plot(best.train_tmacs, best.val_top1, "o-", color=DEPS, label="front of the trials", linewidth=1.2)
    dots(drawn, "front of the trials", trials_of(best, "val_top1"))
    default = complete(results, point="base")
    star: dict[str, Any] = {"linestyle": "", "marker": "*", "markersize": 12, "color": FULL}
    axes.plot(default.train_tmacs, default.val_top1, **star, label="DεpS as preset")
    chosen = matching(trials, best=True)
    ring: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": DEPS}
    axes.plot(chosen.train_tmacs, chosen.val_top1, **ring, label=f"best.yaml, {_limit(results)}")
    for method, own in methods.items():
        if len(own) and "pareto/mean_val_top1" in own:
            diamond: dict[str, Any] = {"color": colours(results.methods)[method], "label": label(method), "zorder": 3}
            cost, top1 = own["cost/train_tmacs"], own["pareto/mean_val_top1"]
            (drawn,) = axes.plot(cost, top1, "D", **diamond)
            facts = {"method": method, "TMACs": cost, "top1": top1, "of": "validation"}
            dots(drawn, label(method), pd.DataFrame(facts).assign(runs=runs(method, own.seed.tolist())))
    diverged = int(results.study.get("tune/diverged", 0))  # older studies do not say it
    without = f"; without {plural(diverged, 'trial')} that diverged" if diverged else ""
    axes.set(xlabel=f"training cost (10¹² MACs){without}", ylabel=f"mean Pareto\n{TOP1}")
    legend_below(figure, columns=2)
    return figure


def _limit(results: Results) -> str:
    """What the trial in best.yaml may cost, in words."""
    tuning = results.params["tuning"]
    if (limit := tuning["cost_limit"]) is not None:
        unit = "× the full model's cost" if tuning["cost_unit"] == "full_model" else "TMACs"
        return f"up to {limit:g} {unit}"
    return "up to the star's cost" if "cost" in tuning["objectives"] else "at any cost"
