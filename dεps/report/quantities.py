"""What methods are compared by that their metrics alone do not say, each once a seed."""

from __future__ import annotations

import pandas as pd

from dεps.core.tables import column, columns, matching, rows_where
from dεps.report.results import Results
from dεps.report.statistics import Sample
from dεps.workspace.outputs import EVALUATED

#: the full model on validation after the first epoch of shrinking, minus before: a metric of `dips`
DIP = "curves/at_shrink_start_top1"
#: measured archs a seed, below which τ is a matter of luck
FEW_ARCHS = 20
#: of the Pareto points, from which they can be made anew
_OF_POINTS = tuple(metric for metric in EVALUATED if metric.of and metric.key.startswith("pareto/"))


def shared_archs(results: Results, method: str, other: str) -> frozenset[str] | None:
    """Archs of the Pareto points that both methods have; None where each has all that the other has."""
    ours, theirs = (set(matching(results.pareto, method=name).arch) for name in (method, other))
    return None if ours == theirs else frozenset(ours & theirs)


def comparable(results: Results, method: str, other: str) -> pd.DataFrame:
    """Metrics of two methods, a row a run; those of Pareto points are of the archs that both have.

    A mean over other points is another quantity: over the ends of a front it is up to a point lower than over four
    points of it. Empty cells, where the two share fewer than two archs.
    """
    metrics = rows_where(results.metrics, column(results.metrics, "method").isin([method, other]))
    shared = shared_archs(results, method, other)
    if shared is None:
        return metrics
    kept = rows_where(results.pareto, column(results.pareto, "arch").isin(shared))
    metrics = metrics.copy()
    for metric in _OF_POINTS:
        if metric.of and metric.key in metrics:
            metrics[metric.key] = [
                metric.of(matching(kept, method=name, seed=seed), kept) if len(shared) > 1 else float("nan")
                for name, seed in zip(metrics.method, metrics.seed, strict=True)
            ]
    return metrics


def bucket_medians(results: Results, method: str, other: str) -> pd.DataFrame:
    """Difference of the medians of random archs: rows `seed`, `bucket`, `difference`; in MAC buckets that both have."""
    ours, theirs = (
        matching(results.population, method=name).groupby(["seed", "bucket"]).test_top1.median()
        for name in (method, other)
    )
    return (ours - theirs).dropna().reset_index(name="difference")


def dips(results: Results) -> pd.DataFrame:
    """Full model's top-1 on validation after the first validated epoch of shrinking, minus before: a row a run."""
    found, key = [], "val/largest_top1"
    history = results.history.dropna(subset=[key]) if key in results.history else results.history.head(0)
    for method, seed in results.runs:
        own = matching(history, method=method, seed=seed).sort_values("epoch")
        shrinks = column(own, "phase").eq("shrinking")
        before, after = (column(rows_where(own, kept), key) for kept in (~shrinks, shrinks))
        if len(before) and len(after):
            found.append({"method": method, "seed": seed, DIP: after.iloc[0] - before.iloc[-1]})
    return pd.DataFrame(found, columns=["method", "seed", DIP])


def against_alone(results: Results, method: str) -> pd.DataFrame:
    """A method's subnets minus the same archs trained alone: rows `seed`, `arch`, `difference`.

    The full model, which is trained alone for each seed, is one of them.
    """
    alone = columns(results.standalone, "seed", "arch", "test_top1")
    largest = results.space_points.arch.iloc[-1]
    seeds = sorted(set(matching(results.pareto, method=method).seed))
    if not column(alone, "arch").eq(largest).any():
        full = [{"seed": seed, "arch": largest, "test_top1": results.full_model_top1(seed)} for seed in seeds]
        alone = pd.concat([alone, pd.DataFrame(full)], ignore_index=True)
    both = matching(results.pareto, method=method).merge(alone, on=["seed", "arch"], suffixes=("", "_alone"))
    return columns(both.assign(difference=both.test_top1 - both.test_top1_alone), "seed", "arch", "difference")


def mean_by_seed(frame: pd.DataFrame) -> Sample | None:
    """Mean of the column `difference` of each seed; None without rows."""
    means = pd.Series(frame.groupby("seed")["difference"].mean())
    return Sample.of(means) if len(means) else None


def few_archs(results: Results) -> dict[str, int]:
    """Number of measured archs a seed, by method, of the methods that have so few that their τ is a matter of luck."""
    least = {
        method: min(matching(results.predictions, method=method, seed=seed).arch.nunique() for seed in results.seeds)
        for method in results.methods
    }
    return {method: count for method, count in least.items() if count < FEW_ARCHS}
