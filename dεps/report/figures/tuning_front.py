"""Scatter plot of accuracy over training cost of all trials, with their front and the other methods."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from dεps.core.tables import matching
from dεps.report.drawing import BESIDE
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.study import DEPS, TOP1, complete, study_axes
from dεps.report.style import FAINT, FULL, colours, label

ABOUT = About(
    title="Accuracy and cost",
    section="Study",
    order=50,
    note="The ring is the trial in best.yaml, the star DεpS as preset; diamonds are the other methods.",
    sources=("tune/trials.csv", "train/summary.json", "evaluate/metrics.json", "evaluate/pareto.csv"),
    compares_points=True,
)


def draw(results: Results) -> Figure:
    """One dot a trial; methods of the study's seed."""
    figure, axes = study_axes(results, "Accuracy against training cost")
    trials = complete(results)
    axes.plot(trials.train_tmacs, trials.val_top1, "o", color=FAINT, label="trial", markersize=4.5)
    best = matching(trials, front=True).sort_values("train_tmacs")
    axes.plot(best.train_tmacs, best.val_top1, "o-", color=DEPS, label="front of the trials", linewidth=1.2)
    default = complete(results, point="base")
    star: dict[str, Any] = {"linestyle": "", "marker": "*", "markersize": 12, "color": FULL}
    axes.plot(default.train_tmacs, default.val_top1, **star, label="DεpS as preset")
    chosen = matching(trials, best=True)
    ring: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 11, "markerfacecolor": "none", "color": DEPS}
    axes.plot(chosen.train_tmacs, chosen.val_top1, **ring, label="best.yaml")
    for method in results.methods:
        own = matching(results.metrics, method=method, seed=results.params["tuning"]["seed"])
        if method != "deps" and len(own) and "pareto/mean_val_top1" in own:
            diamond: dict[str, Any] = {"color": colours(results.methods)[method], "label": label(method), "zorder": 3}
            axes.plot(own["cost/train_tmacs"], own["pareto/mean_val_top1"], "D", **diamond)
    axes.set(xlabel="training cost (10¹² MACs)", ylabel=f"mean Pareto {TOP1}")
    axes.legend(**BESIDE)
    return figure
