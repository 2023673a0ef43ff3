from random import Random

import pytest

from dεps.errors import UserError
from dεps.losses import CrossEntropy, Distillation, InPlaceDistillation
from dεps.strategies import full_model, registry
from dεps.strategies.base import Setup
from tests.conftest import load_space


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


def test_standalone_trains_one_arch_as_the_full_model_is_trained(setup):
    strategy = build(setup, strategy="standalone", arch="D2E2K5")
    arch = setup.space.uniform(2, 5, 2)
    assert strategy.terms(3, Random(0)) == strategy.terms(60, Random(1))
    (term,) = strategy.terms(3, Random(0))
    assert term == full_model.build(full_model.Options(), setup).terms(3, Random(0))[0]._replace(arch=arch, full=False)
    assert [(phase.start, phase.end) for phase in strategy.phases()] == [(0, 70)]
    assert strategy.phases()[0].schedule == setup.schedule()
    assert (strategy.trunk_steps, strategy.kernel_transform) == (0, False)


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


@pytest.mark.parametrize(
    ("epochs", "start", "rate", "at_start", "at_end", "halfway"),
    [
        # η0/2 (1 + cos(πt/T)) at shrink start, five epochs later, and half-way one step before 2.5 epochs (of 100)
        (200, 100, 0.1, 0.05, 0.0460770, 0.0480449),  # CIFAR: cos 90°, cos 94.5°, cos 92.241°
        (270, 150, 2.6, 1.0742574, 1.0001993, 1.0372653),  # ImageNet: cos 100°, cos 103.33°, cos 101.66°
    ],
)
def test_published_recipes_by_hand(micro, epochs, start, rate, at_start, at_end, halfway):
    setup = Setup(micro, epochs, 100, rate, 0, 0.1, 0.1)
    strategy = build(setup, strategy="deps", shrink_start=start / epochs, ramp_epochs=5)
    phases, first = strategy.phases(), 100 * start
    assert [(phase.start, phase.end) for phase in phases] == [(0, first), (first, 100 * epochs)]
    eta = phases[1].schedule
    assert (eta(first), eta(first + 500), eta(first + 249)) == pytest.approx((at_start, at_end, halfway), abs=2e-6)
    assert strategy.ramp(first) == pytest.approx(at_end / 500 / at_start, rel=1e-4)
    assert strategy.ramp(first + 249) == pytest.approx(0.5 * at_end / halfway, rel=1e-4)
    assert strategy.ramp(first + 499) * eta(first + 499) == pytest.approx(at_end, rel=1e-5)
    assert strategy.ramp(first + 500) == strategy.ramp(100 * epochs - 1) == 1.0
    assert [term.weight for term in strategy.terms(first + 249, Random(0))] == [1.0, *[strategy.ramp(first + 249)] * 3]


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


def test_bignas_is_a_sandwich_from_the_first_step(setup):
    strategy = build(setup, strategy="bignas", epochs_ratio=1.5)
    assert strategy.trunk_steps == 0
    assert [(phase.start, phase.end, phase.sort) for phase in strategy.phases()] == [(0, 15 * 7, None)]
    full, smallest, *rest = strategy.terms(0, Random(0))
    assert (full.loss, full.dropout) == (CrossEntropy(0.1), 0.2)
    assert [term.weight for term in (smallest, *rest)] == [1.0, 1.0, 1.0]
    assert {term.loss for term in (smallest, *rest)} == {InPlaceDistillation(1.0)}


def test_ofa_phases_are_the_published_ones(micro):
    setup = Setup(micro, 180, 1, 2.7, 0, 0.1, 0.1)
    strategy = build(setup, strategy="ofa")
    phases = strategy.phases()
    assert [phase.end for phase in phases] == [180, 305, 330, 455, 480, 605]
    assert [phase.schedule.base for phase in phases[1:]] == pytest.approx(
        [1.0, 0.083077, 0.25, 0.083077, 0.25], abs=1e-5
    )
    assert [phase.schedule.warmup for phase in phases[1:]] == [5, 0, 5, 0, 5]
    assert [phase.sort for phase in phases] == [None, None, None, None, "all", "groups"]
    assert [phase.freeze_teacher for phase in phases] == [False, True, False, False, False, False]
    assert strategy.kernel_transform
    assert strategy.trunk_steps == 180


def test_ofa_opens_kernels_then_depths_then_expands(micro):
    strategy = build(Setup(micro, 180, 1, 2.7, 0, 0.1, 0.1), strategy="ofa")

    def offered(step):
        archs = [term.arch for seed in range(60) for term in strategy.terms(step, Random(seed))]
        blocks = [block for arch in archs for stage in arch.stages for block in stage]
        depths = {depth for arch in archs for depth in arch.depths}
        return {block.kernel for block in blocks}, depths, {block.expand for block in blocks}

    assert offered(200) == ({3, 5}, {3}, {4})
    assert offered(310) == ({3, 5}, {2, 3}, {4})
    assert offered(400) == ({3, 5}, {1, 2, 3}, {4})
    assert offered(460) == ({3, 5}, {1, 2, 3}, {3, 4})
    assert offered(600) == ({3, 5}, {1, 2, 3}, {2, 3, 4})
    assert [len(strategy.terms(step, Random(0))) for step in (0, 200, 310, 400, 460, 600)] == [1, 1, 2, 2, 4, 4]
    assert strategy.terms(200, Random(0))[0].loss == Distillation(0.1, 1.0)


def test_ofa_scales_with_the_budget(setup):
    strategy = build(setup, strategy="ofa")  # 10 epochs of 7 steps
    assert [(phase.end - phase.start) // 7 for phase in strategy.phases()] == [10, 7, 1, 7, 1, 7]


@pytest.mark.parametrize(("strategy", "ends"), [("ofa", [180, 305, 330, 455, 480, 605]), ("compofa", [180, 205, 330])])
def test_a_teacher_of_its_own_length_has_its_own_horizon(strategy, ends):
    setup = Setup(load_space("mbv3_224"), 270, 1, 2.7, 5, 0.1, 0.1)
    method = build(setup, strategy=strategy, teacher_ratio=180 / 270)
    phases = method.phases()
    assert [phase.end for phase in phases] == ends
    assert method.trunk_steps == 0  # nothing to branch from
    teacher = phases[0].schedule
    assert (teacher.base, teacher.steps, teacher.warmup) == (2.7, 180, 5)
    assert teacher(179) < 0.001 < setup.schedule()(179)
    assert phases[1].freeze_teacher
    assert [phase.alone for phase in phases] == [True] + [False] * (len(ends) - 1)
    assert [term.arch for term in method.terms(179, Random(0))] == [setup.space.largest()]


def test_a_teacher_that_rounds_to_the_full_model_shares_its_trunk(setup):
    assert build(setup, strategy="ofa", teacher_ratio=1.04).trunk_steps == 70


def test_compofa_couples_depth_and_expand(micro):
    strategy = build(Setup(micro, 180, 1, 2.6, 0, 0.1, 0.1), strategy="compofa", kernels=[3, 5, 3])
    assert [phase.end for phase in strategy.phases()] == [180, 205, 330]
    assert [phase.schedule.base for phase in strategy.phases()[1:]] == pytest.approx([0.08, 0.24], abs=1e-3)
    assert not strategy.kernel_transform
    assert strategy.space.size() == 3**3
    archs = [term.arch for seed in range(30) for term in strategy.terms(320, Random(seed))]
    for arch in archs:
        assert arch in strategy.space
        assert arch in micro
        assert [{block.kernel for block in stage} for stage in arch.stages] == [{3}, {5}, {3}]
        assert all({block.expand for block in stage} == {len(stage) + 1} for stage in arch.stages)
    early = [term.arch for seed in range(30) for term in strategy.terms(190, Random(seed))]
    assert {depth for arch in early for depth in arch.depths} == {1, 2, 3}


def test_compofa_has_243_archs_in_the_papers_space():
    space = load_space("mbv3_224")
    strategy = build(Setup(space, 180, 1, 2.6, 0, 0.1, 0.1), strategy="compofa")
    assert strategy.space.size() == 243


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strategy": "sgd"}, r"methods\.m\.strategy is 'sgd'; allowed: .*deps.*rss"),
        ({}, r"methods\.m has no 'strategy'"),
        ({"strategy": "deps", "shrink_start": 1.01}, r"methods\.m\.shrink_start is 1\.01; expected .* 0 to 1"),
        ({"strategy": "deps", "shrink_start": float("nan")}, r"shrink_start is nan; expected a finite number"),
        ({"strategy": "deps", "epsilon": -0.1}, r"methods\.m\.epsilon"),
        ({"strategy": "deps", "temperature": 0}, r"methods\.m\.temperature"),
        ({"strategy": "deps", "ramp_shape": "bent"}, r"ramp_shape is 'bent'; allowed: linear, cosine"),
        ({"strategy": "deps", "ramp_shape": "constant"}, r"epsilon is 0 with ramp_shape constant"),
        ({"strategy": "ofa", "distillation": -1}, r"methods\.m\.distillation"),
        ({"strategy": "compofa", "kernels": []}, r"methods\.m\.kernels is empty"),
        (
            {"strategy": "compofa", "kernels": [7]},
            r"compofa\.kernels gives stage 0 kernel 7; the space offers \[3, 5\]",
        ),
        ({"strategy": "ofa", "teacher_ratio": 0}, r"methods\.m\.teacher_ratio is 0\.0; expected a positive"),
        ({"strategy": "compofa", "teacher_ratio": -1}, r"methods\.m\.teacher_ratio is -1\.0"),
        ({"strategy": "bignas", "epochs_ratio": 0}, r"methods\.m\.epochs_ratio"),
        ({"strategy": "rss", "epochs_ratio": 0}, r"methods\.m\.epochs_ratio"),
        ({"strategy": "standalone", "arch": "D7"}, r"standalone\.arch is 'D7'; allowed: smallest, largest, D1E2K5"),
        ({"strategy": "rss", "shrink_start": 0.5}, r"methods\.m\.shrink_start is no known key; allowed: epochs_ratio"),
    ],
)
def test_impossible_options_are_refused(setup, params, message):
    with pytest.raises(UserError, match=message):
        registry.build(params, "methods.m", setup)


def test_every_strategy_file_is_found():
    assert set(registry.names()) == {"bignas", "compofa", "deps", "full_model", "ofa", "rss", "standalone"}
