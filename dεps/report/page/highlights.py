"""Sums an experiment up in a few numbers, for the top of the page."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from dεps.core.console import plural
from dεps.core.tables import column, matching, rows_where
from dεps.report.published import COST_DATASET, dataset_of, gpu_hours, pareto_points
from dεps.report.quantities import comparable, few_archs, shared_archs
from dεps.report.results import Results
from dεps.report.statistics import CONFIDENCE, DECIDING, Range, paired, paired_ratio, sampling_error, spread
from dεps.report.style import label
from dεps.tuning.verdict import verdict

#: what the difference between two methods is judged by
BETTER = Range(above=0.0)
#: method that the project is about, and the one that it is compared with
OURS, OTHER = "deps", "ofa"


class Highlight(NamedTuple):
    """One number: its name, its value with the unit, and a remark."""

    name: str
    value: str
    note: str


def highlights(results: Results) -> list[Highlight]:
    """The numbers that a reader wants to see first; a difference is a headline only where the seeds decide."""
    found = [_mean(results)]
    if {OURS, OTHER} <= set(results.methods):
        found += filter(None, (_difference(results, size) for size in ("smallest", "largest")))
        found.append(_cost_ratio(results))
    found.append(_predictor(results))
    if results.has_study and (text := verdict(results.study)):
        found.append(_study(text))
    measured = len(results.pareto) + len(results.population) + int(results.searched.measured.notna().sum())
    trained = f"{plural(len(results.methods), 'method')} × {plural(len(results.seeds), 'seed')}"
    found.append(Highlight("archs measured", f"{measured:,}", f"Pareto points, random and searched archs; {trained}"))
    return found


def _mean(results: Results) -> Highlight:
    """Mean Pareto accuracy of the method that the project is about, and how far from the others' that is."""
    key = "pareto/mean_top1"
    mean = {method: _of(results.metrics, method, key) for method in results.methods}
    ours = OURS if OURS in mean else results.methods[0]
    name = f"{label(ours)}, mean Pareto top-1"
    rivals = [method for method in results.methods if method != ours]
    if not rivals:
        return Highlight(name, f"{spread(mean[ours])} %", "the only method here")
    differences = {method: paired(comparable(results, ours, method), key, ours, method) for method in rivals}
    best = min(rivals, key=lambda method: found.mean if (found := differences[method]) else float("inf"))
    note = f"{label(best)}, the highest of the others, {spread(mean[best])} %"
    if found := differences[best]:
        note += f"; difference {found.text()}, {found.words(BETTER)}"
        if shared := shared_archs(results, ours, best):
            note += f"; over the {plural(len(shared), 'arch')} that both have"
    return Highlight(name, f"{spread(mean[ours])} %", note)


def _predictor(results: Results) -> Highlight:
    """Kendall's τ over methods; those of few archs are left out and named, unless all are so."""
    few = few_archs(results)
    if len(few) == len(results.methods):
        few = {}
    kept = rows_where(results.metrics, ~column(results.metrics, "method").isin(few))
    taus, macs, test = (_by_method(kept, f"predictor/{name}kendall_tau") for name in ("", "macs_", "ceiling_"))
    note = f"MACs alone {macs.median():.2f}, test accuracy {test.median():.2f}"
    if len(taus) > 1:
        note = f"{taus.min():.2f} to {taus.max():.2f} over {plural(len(taus), 'method')}; medians of {note}"
    note += "".join(f"; without {label(one)}'s of {plural(count, 'arch')}" for one, count in few.items())
    return Highlight("predictor, median τ" if len(taus) > 1 else "predictor, τ", f"{taus.median():.2f}", note)


def _study(text: str) -> Highlight:
    """The study's verdict: its first words as the headline, what is left of it below."""
    head, _, rest = text.partition(": ")
    if head.startswith("undecided "):
        return Highlight("study", "undecided", text.removeprefix("undecided "))
    if not rest:
        _, mark, diverged = text.partition("; ")
        return Highlight(
            "study", "no better than the default", f"no trial within the limit of cost surpasses it{mark}{diverged}"
        )
    return Highlight("study, best trial", head.removeprefix("the best trial is "), rest)


def _difference(results: Results, size: str) -> Highlight | None:
    """DεpS minus OFA on the smallest or largest Pareto arch, paired by seed, beside the published difference."""
    key = f"pareto/{size}_top1"
    found = paired(results.metrics, key, OURS, OTHER)
    if found is None:
        return None
    ours, other = (_of(results.metrics, method, key) for method in (OURS, OTHER))
    error = sampling_error(ours.mean(), results.manifest["images"]["test"], other.mean())
    sides = f"{spread(ours)} against {spread(other)} %{_other(results, OURS, OTHER)}"
    value, note = f"{found.text()} points", f"{found.words(BETTER)}; {sides}"
    if found.verdict(BETTER) == "undecided":
        seeds = found.words(BETTER).removeprefix("undecided ").strip("()")
        interval = "" if found.interval else ", without an interval"
        value, note = "undecided", f"{value}{interval}; {seeds}; {sides}"
    note += f"; up to ± {error:.2f} for the choice of test images"
    if points := pareto_points(dataset_of(results.params) or ""):
        at = 0 if size == "smallest" else -1
        note += f"; published {points[OURS][at].top1 - points[OTHER][at].top1:+.2f}"
    return Highlight(f"{label(OURS)} − {label(OTHER)}, {size}", value, note)


def _other(results: Results, first: str, second: str) -> str:
    """Remark that the Pareto points of two methods are not the same archs; empty where they are."""
    others = results.other_archs
    return "" if set(others.get(first, ())) == set(others.get(second, ())) else "; their points are other archs"


def _cost_ratio(results: Results) -> Highlight:
    ours, other = (_of(results.metrics, method, "cost/train_tmacs").mean() for method in (OURS, OTHER))
    note = f"{other:.3g} against {ours:.3g} TMACs"
    ratio = paired_ratio(results.metrics, "cost/train_tmacs", OTHER, OURS)
    if ratio and ratio.interval:
        note += f"; {CONFIDENCE:.0%} interval {ratio.interval.low:.2f} to {ratio.interval.high:.2f}"
    if dataset_of(results.params) == COST_DATASET:
        note += f"; published {gpu_hours()[OTHER] / gpu_hours()[OURS]:.2f} × in GPU-hours"
    return Highlight(f"training cost, {label(OTHER)} ÷ {label(OURS)}", f"{other / ours:.2f} ×", note)


def certainty(results: Results) -> str:
    """Sentence that says how far the numbers can be trusted."""
    images = results.manifest["images"]["test"]
    top1 = column(results.metrics, "pareto/mean_top1").mean()
    error = sampling_error(top1, images)
    text = f"With {images:,} test images one standard error of a top-1 near {top1:.0f} % is {error:.2f} points. "
    if len(results.seeds) == 1:
        return text + "One seed was trained, so nothing is known about the spread between seeds."
    text += f"± is the standard deviation (of a sample) over {len(results.seeds)} seeds; differences are paired by seed"
    text += f", in brackets their {CONFIDENCE:.0%} interval"
    return text + ("." if len(results.seeds) >= DECIDING else f". Fewer than {DECIDING} seeds decide nothing.")


def _of(metrics: pd.DataFrame, method: str, name: str) -> pd.Series:
    """A metric of one method, one value per seed."""
    return column(matching(metrics, method=method).set_index("seed"), name)


def _by_method(metrics: pd.DataFrame, name: str) -> pd.Series:
    """Mean of a metric over seeds, one value per method."""
    return pd.Series(metrics.groupby("method")[name].mean())
