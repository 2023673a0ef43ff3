import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

from dεps.core.errors import UserError
from dεps.report.statistics import (
    DECIDING,
    Interval,
    Range,
    Sample,
    Spread,
    mean_std,
    moderated,
    paired,
    paired_ratio,
    sampling_error,
    spread,
)

#: six differences in points: mean 1.5, squares 0.49 + 0.16 + 0.01 + 0 + 0.25 + 0.25 = 1.16
SIX = (0.8, 1.1, 1.4, 1.5, 2.0, 2.2)
HIGHER = Range(above=0.0)


def enumerated(values, limit=0.0) -> float:
    """Share of all sign patterns whose mean is at least as far from the limit."""
    shifted = [value - limit for value in values]
    sums = [np.dot(signs, shifted) for signs in itertools.product((1, -1), repeat=len(shifted))]
    return sum(abs(one) >= abs(sum(shifted)) - 1e-12 for one in sums) / len(sums)


def test_mean_and_a_samples_standard_deviation():
    sample = Sample.of([1.0, 2.0, 6.0])  # mean 3, squares 4 + 1 + 9 = 14, and 14 / 2 = 7
    assert (sample.mean, sample.std) == (3.0, pytest.approx(math.sqrt(7)))
    assert Sample.of([4.0]).std is None
    assert Sample.of(SIX).std == pytest.approx(math.sqrt(1.4 / 5))


def test_up_to_five_seeds_have_students_interval():
    """Of 1, 2 and 3: standard error 1 / sqrt(3), and t of 2 degrees of freedom at 97.5 % is 4.3027."""
    low, high, kind = Sample.of([1.0, 2.0, 3.0]).interval
    assert kind == "t"
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5)
    assert Sample.of([1.0]).interval is None
    assert Sample.of([1.0] * 5).interval == (1.0, 1.0, "t")


def test_from_six_seeds_on_the_interval_is_scipys_paired_bca_bootstrap():
    """Resampling pairs of two methods' values together is resampling their differences."""
    ours, theirs = np.array([71.0, 72.5, 70.0, 73.0, 71.5, 74.0]), np.array([70.0, 71.0, 70.5, 71.0, 70.0, 71.5])

    def difference(first, second, axis):
        return np.mean(first - second, axis=axis)

    options = {"n_resamples": 9999, "method": "BCa", "rng": np.random.default_rng(0)}
    expected = stats.bootstrap((ours, theirs), difference, paired=True, vectorized=True, **options).confidence_interval
    found = Sample.of(ours - theirs).interval
    assert found.kind == "BCa"
    assert found[:2] == pytest.approx((expected.low, expected.high))
    assert found.low < (ours - theirs).mean() < found.high


@pytest.mark.parametrize(
    ("values", "limit"),
    [(SIX, 0.0), (SIX, 1.0), (SIX, 5.0), ((1.0, -2.0, 3.0, 0.5), 0.0), ((0.3, 0.3, -0.3, 0.3, 0.3, 0.3, 0.9), 0.0)],
)
def test_p_is_that_of_all_sign_patterns(values, limit):
    assert Sample.of(values).p_value(limit) == pytest.approx(enumerated(values, limit))


def test_p_of_seeds_that_agree_is_two_patterns_of_all():
    assert Sample.of([1.0]).p_value() == 1.0
    assert Sample.of([1.0, 2.0, 3.0]).p_value() == 2 / 8
    assert Sample.of(SIX[:5]).p_value() == 2 / 32  # above 0.05, so that five seeds never decide
    assert Sample.of(SIX).p_value() == 2 / 64
    assert Sample.of([0.0] * 6).p_value() == 1.0


def test_p_of_many_seeds_is_sampled_and_repeats():
    values = np.random.default_rng(1).normal(0.4, 1.0, 30)
    first, again = (Sample.of(values).p_value() for _ in range(2))
    assert first == again == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_verdicts_that_six_seeds_reach():
    assert Sample.of(SIX).verdict(HIGHER) == "supported"
    assert Sample.of([-value for value in SIX]).verdict(HIGHER) == "contradicted"
    assert Sample.of([-value for value in SIX]).verdict(Range(None, 0.0)) == "supported"
    assert Sample.of(SIX).verdict(Range(None, 0.0)) == "contradicted"
    assert Sample.of([*SIX[:5], -0.2]).verdict(HIGHER) == "undecided"
    assert Sample.of([*SIX[:5], -2.2]).verdict(HIGHER) == "undecided"


def test_an_interval_that_excludes_the_limit_does_not_decide_alone():
    """Five seeds of six agree: the bootstrap is sure, the exact test has p = 4/64."""
    sample = Sample.of([2.0, 2.1, 1.9, 2.2, 2.0, -0.1])
    assert sample.interval.low > 0
    assert sample.p_value() == pytest.approx(4 / 64)
    assert sample.verdict(HIGHER) == "undecided"


@pytest.mark.parametrize("count", range(1, DECIDING))
def test_fewer_seeds_never_decide(count):
    assert Sample.of([5.0 + 0.01 * seed for seed in range(count)]).verdict(HIGHER) == "undecided"


def test_verdicts_of_about_equal():
    about = Range(-1.0, 1.0)
    near = (0.1, -0.2, 0.3, 0.0, -0.1, 0.2)
    assert Sample.of(near).verdict(about) == "supported"
    assert Sample.of([value + 3 for value in near]).verdict(about) == "contradicted"
    assert Sample.of([value - 3 for value in near]).verdict(about) == "contradicted"
    assert Sample.of([value + 0.9 for value in near]).verdict(about) == "undecided"
    assert Sample.of([value + 1.1 for value in near]).verdict(about) == "undecided"


def test_seeds_that_agree_to_the_last_bit_decide_from_six_on():
    """As ratios of training cost do."""
    assert Sample.of([0.5] * 6).verdict(Range(0.4, 0.6)) == "supported"
    assert Sample.of([0.7] * 6).verdict(Range(0.4, 0.6)) == "contradicted"
    assert Sample.of([0.5] * 2).seeds_needed(Range(0.4, 0.6)) == DECIDING


def test_how_many_seeds_would_decide_by_tables_of_the_t_test():
    """An effect of one standard deviation takes 10 (power 0.80 at 5 %, two-sided), of a half 34, of a fifth 199."""
    two = Sample.of([0.0, 2.0])  # mean 1, standard deviation sqrt(2)
    for effect, expected in ((1.0, 10), (0.5, 35), (0.2, 200)):
        assert two.seeds_needed(Range(above=1.0 - effect * math.sqrt(2))) == expected
    assert two.seeds_needed(Range(above=-50.0)) == DECIDING
    assert two.seeds_needed(Range(above=1.0)) is None  # no number of seeds
    assert Sample.of([1.0]).seeds_needed(HIGHER) is None
    assert Sample.of([*SIX[:5], -2.2]).seeds_needed(HIGHER) > 6


def test_methods_are_paired_by_seed_and_seeds_of_one_alone_left_out():
    frame = pd.DataFrame(
        [("a", 0, 70.0), ("a", 1, 80.0), ("a", 2, 60.0), ("b", 1, 77.0), ("b", 0, 69.0), ("b", 3, 1.0)],
        columns=["method", "seed", "top1"],
    )
    assert paired(frame, "top1", "a", "b").values == (1.0, 3.0)
    assert paired(frame, "top1", "b", "a").values == (-1.0, -3.0)
    assert paired_ratio(frame, "top1", "a", "b").values == (70 / 69, 80 / 77)
    assert paired(frame, "top1", "a", "c") is None
    assert paired(frame, "top5", "a", "b") is None
    assert paired(frame.assign(top1=np.nan), "top1", "a", "b") is None


def test_what_is_no_number_is_refused():
    for values in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="expected one finite number a seed"):
            Sample.of(values)


def test_texts():
    assert Sample.of([1.0, 2.0, 3.0]).text() == "+2.00 [−0.48, +4.48]"
    assert Sample.of([-1.25]).text(1) == "−1.2"
    assert Sample.of([0.5] * 6).text(2, signed=False) == "0.50 [0.50, 0.50]"
    assert Sample.of(SIX).words(HIGHER) == "supported (6 seeds)"
    assert Sample.of([1.0]).words(HIGHER) == "undecided (1 seed; no fewer than 6 can decide)"
    assert Sample.of([0.0, 2.0]).words(HIGHER) == "undecided (2 seeds; about 18 would decide)"  # effect 1 / sqrt(2)
    assert Sample.of([-1.0, 1.0]).words(HIGHER) == "undecided (2 seeds; more than 1,000 would decide)"
    assert spread(pd.Series([1.234])) == spread([1.234, 1.234]) == "1.23"
    assert spread(pd.Series([1.0, 3.0]), 1) == "2.0 ± 1.4"
    assert spread([1.0, 2.0, 6.0]) == "3.00 ± 2.65"


def test_means_and_standard_deviations_of_groups():
    frame = pd.DataFrame({"macs": [5, 5, 5, 7], "top1": [1.0, 2.0, 6.0, 4.0]})
    assert mean_std(frame, ["macs"], "top1").round(6).to_numpy().tolist() == [[5, 3, 2.645751], [7, 4, 0]]


def test_the_sampling_error_of_test_images():
    """sqrt(0.8 × 0.2 / 2000) of one top-1; of a difference as if on separate images."""
    assert sampling_error(80.0, 2000) == 0.8944
    assert sampling_error(80.0, 2000, 80.0) == pytest.approx(0.8944 * math.sqrt(2))


def test_a_seed_without_a_number_or_there_twice_is_an_error():
    """What is left would be a choice of seeds, or count one as several."""
    rows = [(method, seed, 70.0 + seed) for method in "ab" for seed in range(6)]
    frame = pd.DataFrame(rows, columns=["method", "seed", "top1"])
    assert paired(frame, "top1", "a", "b").values == (0.0,) * 6
    for value in (math.nan, math.inf):
        lacking = frame.assign(top1=frame.top1.where((frame.method != "b") | (frame.seed != 3), value))
        with pytest.raises(UserError, match="top1 of b is no number for seed 3; other seeds alone would be a choice"):
            paired(lacking, "top1", "a", "b")
    with pytest.raises(UserError, match="top1 of a is there twice for seed 5"):
        paired(pd.concat([frame, frame[(frame.method == "a") & (frame.seed == 5)]]), "top1", "a", "b")


def test_an_interval_that_is_no_number_decides_nothing():
    sample = Sample.of(SIX)
    assert sample.verdict(HIGHER) == "supported"
    sample = Sample.of(SIX)
    sample.__dict__["interval"] = Interval(math.nan, math.nan, "BCa")
    assert sample.verdict(HIGHER) == "undecided"


@pytest.mark.parametrize("values", [(3.7, 3.0), (5.0, 5.6, 6.4), (2.1, 2.5, 2.9, 3.2), (-13.2, -12.1)])
def test_six_seeds_are_enough_for_an_effect_of_many_deviations(values):
    """There scipy's noncentral t is NaN now and then, where the power is 1 to more than ten digits."""
    assert Sample.of(values).seeds_needed(Range()) == DECIDING


def test_power_is_that_of_simulated_t_tests():
    from dεps.report.statistics import _power

    rng = np.random.default_rng(0)
    for effect, count in ((1.0, 6), (0.5, 20)):
        drawn = rng.normal(effect, 1.0, (20_000, count))
        found = (stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05).mean()
        assert _power(effect, count) == pytest.approx(found, abs=0.015)


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_what_rounding_alone_sets_off_from_the_limit_is_at_it(limit):
    """One of six at the limit leaves p at 4 / 64; all at it are no difference."""
    values = [0.1, 0.02, 0.03, 0.04, 0.05]
    for noise in (0.0, 1e-14, -1e-14):
        own = Sample.of([*(limit + value for value in values), limit + noise])
        assert own.p_value(limit) == 4 / 64
        assert own.verdict(Range(limit)) == "undecided"
        assert Sample.of([limit + noise] * 6).words(Range(limit)) == "undecided (6 seeds; more than 1,000 would decide)"


def test_a_spread_is_drawn_to_the_others_as_far_as_they_are_alike():
    """Four groups of ten, one ten times as wide: by hand after Smyth (2004)."""
    freedom, stds = 9, [1.0, 1.1, 0.9, 10.0]
    logs = np.log(np.square(stds)) - special.digamma(freedom / 2) + np.log(freedom / 2)
    beyond = np.var(logs, ddof=1) - special.polygamma(1, freedom / 2)
    half = optimize.brentq(lambda x: special.polygamma(1, x) - beyond, 1e-3, 1e3)
    common = np.exp(logs.mean() + special.digamma(half) - np.log(half))
    found, others = moderated([Spread(std, freedom) for std in stds])
    assert others == pytest.approx((common**0.5, 2 * half))
    for std, one in zip(stds, found, strict=True):
        expected = (2 * half * common + freedom * std**2) / (2 * half + freedom)
        assert one == pytest.approx((expected**0.5, 2 * half + freedom))
    assert found[3].std > 5 * found[0].std


def test_spreads_of_one_kind_are_pooled():
    """Variances 4 and 1 of 1 and 3 degrees of freedom: (4 + 3) / 4."""
    found, others = moderated([Spread(2.0, 1), Spread(1.0, 3)])
    assert [*found, others] == [(pytest.approx(1.75**0.5), 4)] * 3
    assert moderated([Spread(2.0, 1), Spread(0.0, 3)])[1] == (1.0, 4)


def test_alarms_are_rare_whatever_the_spreads():
    """Ten methods, one five times as wide: 5 % of pairs of results without a difference have a number that is off."""
    from dεps.report.numbers import spreads
    from dεps.report.verify.verification import compared

    rng, widths = np.random.default_rng(0), [0.2] * 9 + [1.0]

    def drawn(seeds: int) -> pd.DataFrame:
        rows = [(f"m{of}", seed, "x", rng.normal(0, std)) for of, std in enumerate(widths) for seed in range(seeds)]
        return pd.DataFrame(rows, columns=["of", "seed", "metric", "value"])

    off = [any(not one.holds for one in compared(drawn(1), drawn(1), spreads(drawn(6)))) for _ in range(150)]
    assert np.mean(off) <= 0.12
