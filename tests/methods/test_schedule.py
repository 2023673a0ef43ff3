import itertools
import math

import pytest

from dεps.methods.schedule import CosineSchedule, EpsilonRamp, LinearSchedule


def test_cosine_by_hand():
    schedule = CosineSchedule(base=0.1, steps=200)
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(50) == pytest.approx(0.05 * (1 + math.sqrt(0.5)))
    assert schedule(100) == pytest.approx(0.05)
    assert schedule(199) == pytest.approx(0.05 * (1 + math.cos(math.pi * 0.995)))  # no floor: 6.2e-6
    assert schedule(199) < 1e-5


def test_a_line_to_zero_by_hand():
    schedule = LinearSchedule(base=0.4, steps=110, warmup=10)
    assert [schedule(t) for t in (4, 9, 10, 60, 109)] == pytest.approx([0.2, 0.4, 0.4, 0.2, 0.004])


def test_warmup_climbs_linearly_to_the_peak():
    schedule = CosineSchedule(base=1.0, steps=110, warmup=10, start=5)
    assert [schedule(5 + t) for t in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule(5 + 60) == pytest.approx(0.5)


def test_epsilon_ramp_for_cifar():
    # T = 200, s = 0.5, E = 5, one step an epoch: β(t) = r η(105) / η(t).
    eta = CosineSchedule(0.1, 200)
    ramp = EpsilonRamp(eta, start=100, steps=5)
    at_end = 0.05 * (1 + math.cos(math.pi * 105 / 200))
    for step, r in ((100, 0.2), (101, 0.4), (102, 0.6), (103, 0.8), (104, 1.0)):
        assert ramp(step) * eta(step) == pytest.approx(r * at_end)
    assert [ramp(step) for step in (105, 150, 199)] == [1.0, 1.0, 1.0]


def test_the_effective_rate_climbs_linearly():
    eta = CosineSchedule(2.6, 2700)
    ramp = EpsilonRamp(eta, start=1500, steps=50)
    effective = [ramp(step) * eta(step) for step in range(1500, 1550)]
    steps = [b - a for a, b in itertools.pairwise(effective)]
    assert steps == pytest.approx([effective[0]] * 49)


@pytest.mark.parametrize(
    ("shape", "halfway"),
    [("linear", 0.5), ("cosine", 0.5), ("exponential", 1 / (1 + math.exp(2.5))), ("step", 0.0)],
)
def test_ramp_shapes_meet_at_the_end(shape, halfway):
    eta = CosineSchedule(0.1, 200)
    ramp = EpsilonRamp(eta, start=100, steps=10, epsilon=0.2, shape=shape)
    effective = [ramp(step) * eta(step) / eta(110) for step in range(100, 110)]
    assert effective[4] == pytest.approx(0.2 + 0.8 * halfway)
    assert effective[9] == pytest.approx(1.0)
    assert effective == sorted(effective)
    assert ramp(110) == 1.0


def test_a_constant_ramp_stays_at_epsilon():
    ramp = EpsilonRamp(CosineSchedule(0.1, 200), start=100, steps=10, epsilon=0.3, shape="constant")
    assert {ramp(step) for step in (100, 105, 110, 199)} == {0.3}


def test_epsilon_is_where_the_ramp_starts_and_one_means_no_ramp():
    eta = CosineSchedule(0.1, 200)
    low = EpsilonRamp(eta, start=100, steps=1000, epsilon=0.3)
    assert low(100) * eta(100) / eta(199) == pytest.approx(0.3 + 0.7 / 1000)
    assert EpsilonRamp(eta, start=100, steps=0)(100) == 1.0
