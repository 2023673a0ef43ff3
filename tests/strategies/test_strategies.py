from random import Random

import pytest

from dεps.errors import UserError
from dεps.losses import CrossEntropy, InPlaceDistillation
from dεps.strategies import full_model, registry
from dεps.strategies.base import Setup


@pytest.fixture
def setup(micro) -> Setup:
    return Setup(
        micro, epochs=10, steps_per_epoch=7, learning_rate=0.1, warmup_epochs=1, label_smoothing=0.1, dropout=0.2
    )


def build(setup: Setup, **params):
    return registry.build(params, "methods.m", setup)


def test_full_model_trains_the_largest_arch_alone(setup):
    strategy = full_model.build(full_model.Options(), setup)
    (term,) = strategy.terms(3, Random(0))
    assert (term.arch, term.loss, term.weight, term.dropout) == (setup.space.largest(), CrossEntropy(0.1), 1.0, 0.2)
    assert strategy.phases()[-1].end == 70


def test_deps_warms_up_then_trains_a_sandwich(setup):
    strategy = build(setup, strategy="deps", shrink_start=0.5, ramp_epochs=1)
    assert strategy.trunk_steps == 35
    assert [(phase.start, phase.end, phase.sort) for phase in strategy.phases()] == [(0, 35, None), (35, 70, "groups")]
    assert strategy.phases()[0].schedule == strategy.phases()[1].schedule  # one cosine over all
    assert len(strategy.terms(34, Random(0))) == 1
    full, smallest, *rest = strategy.terms(35, Random(0))
    assert full == strategy.terms(34, Random(0))[0]
    assert smallest.arch == setup.space.smallest()
    assert len(rest) == 2
    beta = strategy.ramp(35)
    assert 0 < beta < 0.2
    assert all(
        (term.loss, term.weight, term.dropout) == (InPlaceDistillation(1.0), beta, 0.0) for term in [smallest, *rest]
    )
    assert all(term.weight == 1.0 for term in strategy.terms(42, Random(0)))


def test_deps_switches(setup):
    strategy = build(setup, strategy="deps", distill=False, sort_channels=False, random_subnets=1)
    assert strategy.phases()[1].sort is None
    assert [term.loss for term in strategy.terms(60, Random(0))] == [CrossEntropy(0.1)] * 3


@pytest.mark.parametrize(("start", "phases"), [(0.0, ["shrinking"]), (1.0, ["full model"])])
def test_deps_at_the_ends_has_one_phase(setup, start, phases):
    strategy = build(setup, strategy="deps", shrink_start=start)
    assert [phase.name for phase in strategy.phases()] == phases


def test_rss_trains_one_random_subnet_on_plain_labels(setup):
    strategy = build(setup, strategy="rss")
    assert strategy.kernel_transform
    assert strategy.trunk_steps == 0
    assert strategy.phases()[-1].end == 33 * 7  # 590 / 180 of 10 epochs
    (term,) = strategy.terms(0, Random(3))
    assert (term.arch, term.loss, term.dropout) == (setup.space.sample(Random(3)), CrossEntropy(0.0), 0.2)


def test_rss_rates_are_ratios(setup):
    strategy = build(setup, strategy="rss", epochs_ratio=1.0, learning_rate_ratio=0.1)
    assert strategy.phases()[0].schedule.base == pytest.approx(0.01)
    assert strategy.phases()[0].end == 70


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strategy": "sgd"}, r"methods\.m\.strategy is 'sgd'; allowed: .*deps.*rss"),
        ({}, r"methods\.m has no 'strategy'"),
        ({"strategy": "deps", "shrink_start": 1.01}, r"methods\.m\.shrink_start is 1\.01; expected .* 0 to 1"),
        ({"strategy": "deps", "shrink_start": float("nan")}, r"shrink_start is nan; expected a finite number"),
        ({"strategy": "deps", "epsilon": -0.1}, r"methods\.m\.epsilon"),
        ({"strategy": "deps", "temperature": 0}, r"methods\.m\.temperature"),
        ({"strategy": "rss", "epochs_ratio": 0}, r"methods\.m\.epochs_ratio"),
        ({"strategy": "rss", "shrink_start": 0.5}, r"methods\.m\.shrink_start is no known key; allowed: epochs_ratio"),
    ],
)
def test_impossible_options_are_refused(setup, params, message):
    with pytest.raises(UserError, match=message):
        registry.build(params, "methods.m", setup)


def test_every_strategy_file_is_found():
    assert {"deps", "rss", "full_model"} <= set(registry.names())
