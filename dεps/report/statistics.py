"""How sure a difference between methods is: all intervals, tests and verdicts of tables, figures and notes.

Methods of one seed share initial weights, order of images and trunk, so they are compared seed by seed. What seeds
cannot show, how far the test images themselves are a sample, is `sampling_error`, and is said apart: it does not
shrink with more seeds.

                 seeds   1        2 to 5               6 and more
    interval             none     Student's t          BCa bootstrap
    verdict              undecided, always             where interval and exact sign-flip test agree

A BCa interval of six seeds covers 83 % instead of 95 %, by simulation on normal differences. So it decides nothing
alone: the sign-flip test, which is exact for any number of seeds, must say the same. With five seeds its smallest p is
2/32, so no verdict is possible; with six it is 2/64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from dεps.core.console import plural
from dεps.core.errors import UserError
from dεps.core.tables import column, matching
from dεps.evaluation.noise import standard_error

Verdict = Literal["supported", "contradicted", "undecided"]
#: of intervals; tests decide at 1 - CONFIDENCE
CONFIDENCE = 0.95
#: fewest seeds of which the exact sign-flip test can reach 1 - CONFIDENCE
DECIDING = 6
#: of `seeds_needed`: chance that so many seeds decide, and the largest number that is stated
POWER, MANY = 0.8, 1000
#: resamples of the bootstrap, and of the sign-flip test where there are more sign patterns than that (from 17 seeds on)
_RESAMPLES, _PATTERNS = 9999, 2**16
#: to which a quantity is at a limit: subtracting numbers of four decimals leaves less
_DECIMALS = 9


class Interval(NamedTuple):
    """Ends of a confidence interval, and how it was found."""

    low: float
    high: float
    kind: Literal["BCa", "t"]


class Range(NamedTuple):
    """Open range that a claim says a quantity lies in; None: no limit on that side."""

    above: float | None = 0.0
    below: float | None = None

    def __contains__(self, value: object) -> bool:
        number = cast(float, value)
        return (self.above is None or number > self.above) and (self.below is None or number < self.below)

    @property
    def limits(self) -> tuple[float, ...]:
        """The limits that there are."""
        return tuple(limit for limit in self if limit is not None)


@dataclass(frozen=True)
class Sample:
    """A quantity measured once a seed, such as the difference of two methods' top-1 in points."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float] | pd.Series) -> Sample:
        """From numbers; one that is missing or not finite is an error, since the rest would be a choice of seeds."""
        found = tuple(float(value) for value in values)
        if not found or not all(map(math.isfinite, found)):
            raise ValueError(f"values are {found}; expected one finite number a seed, of at least one seed")
        return cls(found)

    @property
    def count(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @cached_property
    def mean(self) -> float:
        return math.fsum(self.values) / self.count

    @cached_property
    def std(self) -> float | None:
        """Standard deviation of a sample (ddof = 1); None of one seed."""
        if self.count < 2:
            return None
        return math.sqrt(math.fsum((value - self.mean) ** 2 for value in self.values) / (self.count - 1))

    @property
    def _is_constant(self) -> bool:
        return not self.std or self.std <= 1e-12 * abs(self.mean)

    @cached_property
    def interval(self) -> Interval | None:
        """Of the mean: Student's t, from `DECIDING` seeds on the BCa bootstrap over seeds; None of one seed."""
        from scipy import stats  # takes longer to import than to run

        if self.std is None:
            return None
        kind = "t" if self.count < DECIDING else "BCa"
        if self._is_constant:  # of which neither is defined
            return Interval(self.mean, self.mean, kind)
        if kind == "t":
            half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.count - 1)) * self.std / math.sqrt(self.count)
            return Interval(self.mean - half, self.mean + half, kind)
        options = {"confidence_level": CONFIDENCE, "n_resamples": _RESAMPLES, "method": "BCa"}
        found = stats.bootstrap((np.array(self.values),), np.mean, rng=np.random.default_rng(0), **options)
        return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high), kind)

    def p_value(self, limit: float = 0.0) -> float:
        """Two-sided p of the sign-flip test that the quantity's mean is `limit`: exact up to 16 seeds.

        It supposes only that each seed would have been as likely as far on the other side of the limit.
        """
        from scipy import stats

        shifted = np.round(np.array(self.values) - limit, _DECIMALS)
        if self.count < 2:
            return 1.0
        options = {"permutation_type": "samples", "n_resamples": _PATTERNS, "rng": np.random.default_rng(0)}
        return float(stats.permutation_test((shifted, np.zeros_like(shifted)), _mean_difference, **options).pvalue)

    def verdict(self, claimed: Range) -> Verdict:
        """Whether the quantity lies in the claimed range, outside it, or cannot be told.

        Each limit that the mean is on the right side of must be excluded by the interval and the sign-flip test for
        "supported"; one that it is on the wrong side of, excluded likewise, is enough for "contradicted".
        """
        broken = [limit for limit in claimed.limits if not self._right_side(claimed, limit)]
        if any(self._excludes(limit) for limit in broken):
            return "contradicted"
        return "undecided" if broken or not all(map(self._excludes, claimed.limits)) else "supported"

    def _right_side(self, claimed: Range, limit: float) -> bool:
        return self.mean > limit if limit == claimed.above else self.mean < limit

    def _excludes(self, limit: float) -> bool:
        interval = self.interval
        if interval is None or self.count < DECIDING:
            return False
        below, above = round(interval.low - limit, _DECIMALS), round(limit - interval.high, _DECIMALS)
        if not (below > 0 or above > 0):
            return False  # one that is not a number excludes nothing
        return self.p_value(limit) <= 1 - CONFIDENCE

    def seeds_needed(self, claimed: Range) -> int | None:
        """About how many seeds in all would decide, were mean and spread as seen; None of one seed, or of too many.

        From the power (80 %) of Student's t test against the limit that is nearest, which the sign-flip test comes
        close to.
        """
        if self.std is None:
            return None
        broken = [limit for limit in claimed.limits if not self._right_side(claimed, limit)]
        distance = min(abs(self.mean - limit) for limit in broken or claimed.limits)
        least = max(DECIDING, self.count + 1)
        if self._is_constant:
            return least if round(distance, _DECIMALS) else None
        effect = distance / self.std
        return next((count for count in _counts(least) if _power(effect, count) >= POWER), None)

    def lacking(self, claimed: Range) -> int:
        """Seeds to train next: 0 once it is decided, else as many as would decide, but `DECIDING` more at most."""
        if self.verdict(claimed) != "undecided":
            return 0
        return min(DECIDING, max(self.seeds_needed(claimed) or MANY, DECIDING) - self.count)

    def words(self, claimed: Range) -> str:
        """The verdict, and where there is none, how many seeds there are and would decide."""
        found, seeds = self.verdict(claimed), plural(self.count, "seed")
        if found != "undecided":
            return f"{found} ({seeds})"
        needed = self.seeds_needed(claimed)
        if self.count == 1:
            return f"undecided ({seeds}; no fewer than {DECIDING} can decide)"
        if needed is None:
            return f"undecided ({seeds}; more than {MANY:,} would decide)"
        return f"undecided ({seeds}; about {needed} would decide)"

    def text(self, decimals: int = 2, signed: bool = True) -> str:
        """As "+1.20 [+0.80, +1.60]", with a minus sign that is one; of one seed the value alone."""
        sign = "+" if signed else ""
        found = [self.mean] if self.interval is None else [self.mean, self.interval.low, self.interval.high]
        mean, *ends = (f"{value:{sign}.{decimals}f}".replace("-", "−") for value in found)
        return f"{mean} [{', '.join(ends)}]" if ends else mean


def _mean_difference(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    return np.mean(first - second, axis=axis)


def _counts(least: int) -> list[int]:
    """Numbers of seeds that `seeds_needed` tries, coarser the larger."""
    return [count for count in (*range(31), *range(35, 101, 5), *range(150, MANY + 1, 50)) if count >= least]


def _power(effect: float, count: int) -> float:
    """Of the two-sided one-sample t test, for a mean of `effect` standard deviations."""
    from scipy import stats

    critical = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    shift = min(effect * math.sqrt(count), critical + 4)  # it is 1 from there on, of which scipy makes NaN now and then
    return float(stats.nct.sf(critical, count - 1, shift) + stats.nct.cdf(-critical, count - 1, shift))


def paired(metrics: pd.DataFrame, key: str, method: str, other: str) -> Sample | None:
    """One method's metric minus another's, seed by seed, from a frame with columns `method` and `seed`.

    Seeds that only one of them has are left out; None where they share none, or either lacks the metric in all. Raises
    `UserError` where one has it of some seeds only: the rest would be a choice.
    """
    return _by_seed(metrics, key, method, other, pd.Series.sub)


def paired_ratio(metrics: pd.DataFrame, key: str, method: str, other: str) -> Sample | None:
    """One method's metric divided by another's, seed by seed; see `paired`."""
    return _by_seed(metrics, key, method, other, pd.Series.div)


def _by_seed(
    metrics: pd.DataFrame, key: str, method: str, other: str, joined: Callable[[pd.Series, pd.Series], pd.Series]
) -> Sample | None:
    if key not in metrics:
        return None
    found = [_seeds_of(metrics, key, name) for name in (method, other)]
    if any(values is None for values in found):
        return None
    ours, theirs = (cast(pd.Series, values) for values in found)
    shared = ours.index.intersection(theirs.index).sort_values()
    return Sample.of(joined(ours[shared], theirs[shared])) if len(shared) else None


def _seeds_of(metrics: pd.DataFrame, key: str, method: str) -> pd.Series | None:
    """A method's metric by seed; None where none has it. Raises `UserError` naming a seed without, or there twice."""
    values = column(matching(metrics, method=method).set_index("seed"), key)
    if values.isna().all():
        return None
    if lacking := values.index[~np.isfinite(values)].tolist():
        raise UserError(f"{key} of {method} is no number for seed {lacking[0]}; other seeds alone would be a choice")
    if not values.index.is_unique:
        raise UserError(f"{key} of {method} is there twice for seed {values.index[values.index.duplicated()][0]}")
    return values


class Spread(NamedTuple):
    """A standard deviation, and its degrees of freedom."""

    std: float
    freedom: float


def moderated(found: Sequence[Spread]) -> tuple[list[Spread], Spread]:
    """Spreads of several groups, each drawn to what they have in common as far as they are alike; and that.

    Empirical Bayes: of few seeds a group's own deviation says little, and one pooled over groups is too small for some
    and too large for others. Groups without spread tell nothing of the others. (Smyth 2004, doi
    10.2202/1544-6115.1027, section 4 and 6.2.)
    """
    from scipy.special import polygamma

    total = sum(one.freedom for one in found)
    pooled = Spread(math.sqrt(sum(one.std**2 * one.freedom for one in found) / total), total)
    telling = [one for one in found if one.std > 0]
    if len(telling) < 2:
        return [pooled] * len(found), pooled
    halves = np.array([one.freedom / 2 for one in telling])
    logs = np.array([2 * math.log(one.std) for one in telling]) - polygamma(0, halves) + np.log(halves)
    beyond = float(np.var(logs, ddof=1) - np.mean(polygamma(1, halves)))
    if beyond <= 0:  # they differ by no more than samples of one spread do
        return [pooled] * len(found), pooled
    half = _inverse_trigamma(beyond)
    common = Spread(math.sqrt(math.exp(np.mean(logs) + polygamma(0, half) - math.log(half))), min(2 * half, total))
    return [_drawn(one, common, total) for one in found], common


def _drawn(one: Spread, common: Spread, total: float) -> Spread:
    freedom = one.freedom + common.freedom
    variance = (one.freedom * one.std**2 + common.freedom * common.std**2) / freedom
    return Spread(math.sqrt(variance), min(freedom, total))


def _inverse_trigamma(value: float) -> float:
    """Where the trigamma function, which falls from infinity to 0, has a positive value."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    found = brentq(lambda at: float(polygamma(1, math.exp(at))) - value, -20, 20, xtol=1e-10)
    return math.exp(float(found))  # pyright: ignore[reportArgumentType] - a number unless all of it is asked for


def spread(values: Sequence[float] | pd.Series, decimals: int = 2) -> str:
    """Mean, and a sample's standard deviation where there are several values that differ."""
    sample = Sample.of(values)
    text, std = f"{sample.mean:.{decimals}f}", sample.std
    return f"{text} ± {std:.{decimals}f}" if std else text


def mean_std(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean and a sample's standard deviation of `value` over what is not in `by`; 0 for a single value."""
    grouped = frame.groupby(by, sort=True)[value]
    return pd.DataFrame({"mean": grouped.mean(), "std": grouped.std().fillna(0.0)}).reset_index()


def sampling_error(top1: float, images: int, other: float | None = None) -> float:
    """Standard error in points that a top-1 (percent) has since its test images are a sample: binomial.

    With `other`, of the difference of two methods on the same images. Which images each classified correctly is not
    kept, so it is the error on separate images, which on the same ones is smaller.
    """
    errors = [standard_error(value, images) for value in (top1, other) if value is not None]
    return math.hypot(*errors)
