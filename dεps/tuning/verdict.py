"""Whether a study's best trial is better than the default: both are measured again on seeds that did not choose it.

The best of many trials is the best partly by luck, so its lead on the seed it was chosen by says little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dεps.core.console import plural

#: of the interval
CONFIDENCE = 0.95


class Gain(NamedTuple):
    """Mean of paired differences in points, and the ends of its interval; they are None for fewer than two pairs."""

    mean: float
    low: float | None
    high: float | None


def paired_gain(best: Sequence[float], default: Sequence[float]) -> Gain:
    """Of one pair or more, with Student's t interval: seeds are too few for a bootstrap to cover what it says."""
    from scipy.stats import t  # takes longer to import than to run

    gains = [ours - theirs for ours, theirs in zip(best, default, strict=True)]
    count, mean = len(gains), math.fsum(gains) / len(gains)
    if count < 2:
        return Gain(round(mean, 4), None, None)
    error = math.sqrt(math.fsum((gain - mean) ** 2 for gain in gains) / (count - 1) / count)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return Gain(round(mean, 4), round(mean - half, 4), round(mean + half, 4))


def verdict(summary: Mapping[str, float]) -> str:
    """A study's best trial against its default, in words, from `summary.json`; empty where it has not both.

    Where their trainings cost otherwise, it says so: under a limit of cost the best may be dearer than the default. It
    ends with the number of drawn trials that diverged, if any: what they trained is not counted.
    """
    if "tune/gain_points_on_its_own_seed" not in summary:
        return ""
    diverged = int(summary.get("tune/diverged", 0))  # older studies do not say it
    return _compared(summary) + (f"; {plural(diverged, 'drawn trial')} diverged, not counted" if diverged else "")


def _compared(summary: Mapping[str, float]) -> str:
    if summary["tune/best_is_default"]:
        return "the default itself is the best trial"
    count, chosen = int(summary["tune/confirmed_seeds"]), summary["tune/gain_points_on_its_own_seed"]
    own = f"{_points(chosen)} on the seed it was chosen by"
    ratio = f"{summary['tune/best_train_tmacs'] / summary['tune/default_train_tmacs']:.2f}"
    price = "" if ratio == "1.00" else f" at {ratio} × its cost"
    doubt = "undecided whether the best trial is better"
    if not count:
        return f"{doubt} than the default{price}: not measured on other seeds; {own}"
    gain = _points(summary["tune/gain_points"])
    seeds = plural(count, "other seed")
    if count < 2:
        return f"{doubt} than the default{price}: {gain} points on {seeds}, too few; {own}"
    low, high = summary["tune/gain_points_low"], summary["tune/gain_points_high"]
    kind = "better than" if low > 0 else "worse than" if high < 0 else ""
    lead = f"the best trial is {kind} the default{price}" if kind else doubt + (price and f" than the default{price}")
    return (
        f"{lead}: {gain} [{_points(low)}, {_points(high)}] points on {seeds} "
        f"(paired by seed, {CONFIDENCE:.0%} t interval); {own}"
    )


def _points(value: float) -> str:
    return f"{value:+.2f}"
