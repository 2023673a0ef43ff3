import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
import yaml

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.methods import full_model, registry
from dεps.methods.base import Setup
from dεps.methods.losses import AdaptiveAlpha, CrossEntropy, Distillation, InPlaceDistillation, Targets
from dεps.methods.schedule import CosineSchedule, LinearSchedule
from dεps.planning.check import composed
from dεps.spaces.encoding import translate
from dεps.spaces.space import Block, SearchSpace
from dεps.workspace.presets import unchecked
from tests.conftest import ROOT, load_space


@pytest.fixture
def setup(micro) -> Setup:
    return Setup(
        micro, epochs=10, steps_per_epoch=7, learning_rate=0.1, warmup_epochs=1, label_smoothing=0.1, dropout=0.2
    )


def build(setup: Setup, **params):
    return registry.build(params, "methods.m", setup)


def test_full_model_trains_the_largest_arch_alone(setup):
    method = full_model.build(full_model.Options(), setup)
    (term,) = method.terms(3, Random(0))
    assert (term.arch, term.loss, term.weight, term.dropout) == (setup.space.largest(), CrossEntropy(0.1), 1.0, 0.2)
    assert method.phases()[-1].end == 70


def test_standalone_trains_one_arch_as_the_full_model_is_trained(setup):
    method = build(setup, method="standalone", arch="D2E2K5")
    arch = setup.space.restrict([2], [5], [2]).largest()
    assert method.terms(3, Random(0)) == method.terms(60, Random(1))
    (term,) = method.terms(3, Random(0))
    assert term == full_model.build(full_model.Options(), setup).terms(3, Random(0))[0]._replace(arch=arch, full=False)
    assert [(phase.start, phase.end) for phase in method.phases()] == [(0, 70)]
    assert method.phases()[0].schedule == setup.schedule()
    assert (method.trunk_steps, method.kernel_transform) == (0, False)


def test_deps_warms_up_then_trains_a_sandwich(setup):
    method = build(setup, method="deps", shrink_start=0.5, ramp_epochs=1)
    assert method.trunk_steps == 35
    assert [(phase.start, phase.end, phase.sort) for phase in method.phases()] == [(0, 35, None), (35, 70, "groups")]
    assert method.phases()[0].schedule == method.phases()[1].schedule  # one cosine over all
    assert len(method.terms(34, Random(0))) == 1
    full, smallest, *rest = method.terms(35, Random(0))
    assert full == method.terms(34, Random(0))[0]
    assert smallest.arch == setup.space.smallest()
    assert len(rest) == 2
    beta = method.ramp(35)
    assert 0 < beta < 0.2
    assert all(
        (term.loss, term.weight, term.dropout) == (InPlaceDistillation(1.0), beta, 0.0) for term in [smallest, *rest]
    )
    assert all(term.weight == 1.0 for term in method.terms(42, Random(0)))


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
    method = build(setup, method="deps", shrink_start=start / epochs, ramp_epochs=5)
    phases, first = method.phases(), 100 * start
    assert [(phase.start, phase.end) for phase in phases] == [(0, first), (first, 100 * epochs)]
    eta = phases[1].schedule
    assert (eta(first), eta(first + 500), eta(first + 249)) == pytest.approx((at_start, at_end, halfway), abs=2e-6)
    assert method.ramp(first) == pytest.approx(at_end / 500 / at_start, rel=1e-4)
    assert method.ramp(first + 249) == pytest.approx(0.5 * at_end / halfway, rel=1e-4)
    assert method.ramp(first + 499) * eta(first + 499) == pytest.approx(at_end, rel=1e-5)
    assert method.ramp(first + 500) == method.ramp(100 * epochs - 1) == 1.0
    assert [term.weight for term in method.terms(first + 249, Random(0))] == [1.0, *[method.ramp(first + 249)] * 3]


def test_deps_switches(setup):
    method = build(setup, method="deps", distill=False, sort_channels=False, random_subnets=1)
    assert method.phases()[1].sort is None
    assert [term.loss for term in method.terms(60, Random(0))] == [CrossEntropy(0.1)] * 3


@pytest.mark.parametrize(("start", "phases"), [(0.0, ["shrinking"]), (1.0, ["full model"])])
def test_deps_at_the_ends_has_one_phase(setup, start, phases):
    method = build(setup, method="deps", shrink_start=start)
    assert [phase.name for phase in method.phases()] == phases


def test_rss_trains_one_random_subnet_on_plain_labels(setup):
    method = build(setup, method="rss")
    assert method.kernel_transform
    assert method.trunk_steps == 0
    assert method.phases()[-1].end == 33 * 7  # 590 / 180 of 10 epochs
    (term,) = method.terms(0, Random(3))
    assert (term.arch, term.loss, term.dropout) == (setup.space.sample(Random(3)), CrossEntropy(0.0), 0.2)


def test_rss_rates_are_ratios(setup):
    method = build(setup, method="rss", epochs_ratio=1.0, learning_rate_ratio=0.1)
    assert method.phases()[0].schedule.base == pytest.approx(0.01)
    assert method.phases()[0].end == 70


def test_bignas_is_a_sandwich_from_the_first_step(setup):
    method = build(setup, method="bignas", epochs_ratio=1.5)
    assert method.trunk_steps == 0
    assert [(phase.start, phase.end, phase.sort) for phase in method.phases()] == [(0, 15 * 7, None)]
    full, smallest, *rest = method.terms(0, Random(0))
    assert (full.loss, full.dropout) == (CrossEntropy(0.1), 0.2)
    assert [term.weight for term in (smallest, *rest)] == [1.0, 1.0, 1.0]
    assert {term.loss for term in (smallest, *rest)} == {InPlaceDistillation(1.0)}


@pytest.mark.parametrize("divergence", ["reverse", "symmetric", "js", "alpha"])
@pytest.mark.parametrize("method", ["deps", "bignas", "bignas_paper", "alphanet"])
def test_all_that_distil_in_place_have_a_choice_of_divergence(setup, method, divergence):
    terms = build(setup, method=method, divergence=divergence, temperature=2.0).terms(60, Random(0))
    assert {term.loss for term in terms[1:]} == {InPlaceDistillation(2.0, divergence)}
    assert terms[0].loss == CrossEntropy(0.1)


def test_alphanet_is_bignas_with_another_loss_and_clipped_gradients(setup):
    ours, bignas = (build(setup, method=name, epochs_ratio=1.5) for name in ("alphanet", "bignas"))
    assert ours.phases() == [replace(bignas.phases()[0], gradient_clip=1.0)]
    alpha = InPlaceDistillation(1.0, "alpha", AdaptiveAlpha(-1.0, 1.0, 5.0))
    expected = [term._replace(loss=term.loss if term.full else alpha) for term in bignas.terms(3, Random(5))]
    assert ours.terms(3, Random(5)) == expected
    other = build(setup, method="alphanet", alpha_min=-2.0, alpha_max=0.5, importance_clip=9.0, gradient_clip=None)
    assert other.terms(0, Random(0))[1].loss == InPlaceDistillation(1.0, "alpha", AdaptiveAlpha(-2.0, 0.5, 9.0))
    assert other.phases()[0].gradient_clip is None
    baseline = build(setup, method="alphanet", divergence="forward").terms(3, Random(5))
    assert [term.arch for term in baseline] == [term.arch for term in expected]
    assert [term.loss(torch.ones(1, 2), Targets(torch.tensor([0]), torch.zeros(1, 2))) for term in baseline] == [
        term.loss(torch.ones(1, 2), Targets(torch.tensor([0]), torch.zeros(1, 2)))
        for term in bignas.terms(3, Random(5))
    ]


def test_alphanets_params_follow_the_experiments_bignas():
    params, _ = composed(["experiment=[imagenet1k]", "methods=[bignas,alphanet]"])
    own = params["experiments"]["imagenet1k"]["methods"]
    shared = own["bignas"].keys() - {"method", "divergence"}
    assert {key: own["alphanet"][key] for key in shared} == {key: own["bignas"][key] for key in shared}
    assert own["alphanet"]["kernels"] == [7]
    published = {"divergence": "alpha", "alpha_min": -1.0, "alpha_max": 1.0, "importance_clip": 5.0}
    assert own["alphanet"].items() >= {**published, "gradient_clip": 1.0}.items()


@pytest.mark.parametrize("method", ["bignas", "bignas_paper", "alphanet", "rss"])
def test_a_training_that_would_be_all_warm_up_is_refused(setup, method):
    with pytest.raises(UserError, match=r"ratio 0\.1 of train\.epochs 10 makes epochs 1; .* train\.warmup_epochs, 1$"):
        build(setup, method=method, epochs_ratio=0.1)
    (phase,) = build(setup, method=method, epochs_ratio=0.2).phases()
    assert (phase.schedule.warmup, phase.end) == (7, 14)


def test_ofa_phases_are_the_published_ones(micro):
    setup = Setup(micro, 180, 1, 2.7, 0, 0.1, 0.1)
    method = build(setup, method="ofa")
    phases = method.phases()
    assert [phase.end for phase in phases] == [180, 305, 330, 455, 480, 605]
    assert [phase.schedule.base for phase in phases[1:]] == pytest.approx(
        [1.0, 0.083077, 0.25, 0.083077, 0.25], abs=1e-5
    )
    assert [phase.schedule.warmup for phase in phases[1:]] == [5, 0, 5, 0, 5]
    assert [phase.sort for phase in phases] == [None, None, None, None, "all", "groups"]
    assert [phase.freeze_teacher for phase in phases] == [False, True, False, False, False, False]
    assert [phase.new_optimizer for phase in phases] == [False, True, True, True, True, True]
    assert all(phase.teacher_in_train_mode for phase in phases[1:])
    recalibrated = build(setup, method="ofa", teacher_in_train_mode=False)
    assert not any(phase.teacher_in_train_mode for phase in recalibrated.phases())
    assert method.kernel_transform
    assert method.trunk_steps == 180


def test_ofa_opens_kernels_then_depths_then_expands(micro):
    method = build(Setup(micro, 180, 1, 2.7, 0, 0.1, 0.1), method="ofa")

    def offered(step):
        archs = [term.arch for seed in range(60) for term in method.terms(step, Random(seed))]
        blocks = [block for arch in archs for stage in arch.stages for block in stage]
        depths = {depth for arch in archs for depth in arch.depths}
        return {block.kernel for block in blocks}, depths, {block.expand for block in blocks}

    assert offered(200) == ({3, 5}, {3}, {4})
    assert offered(310) == ({3, 5}, {2, 3}, {4})
    assert offered(400) == ({3, 5}, {1, 2, 3}, {4})
    assert offered(460) == ({3, 5}, {1, 2, 3}, {3, 4})
    assert offered(600) == ({3, 5}, {1, 2, 3}, {2, 3, 4})
    assert [len(method.terms(step, Random(0))) for step in (0, 200, 310, 400, 460, 600)] == [1, 1, 2, 2, 4, 4]
    assert method.terms(200, Random(0))[0].loss == Distillation(0.1, 1.0)


def test_ofa_scales_with_the_budget(setup):
    method = build(setup, method="ofa")  # 10 epochs of 7 steps
    # 125 and 25 of 180 epochs, in steps: a phase may end within an epoch.
    assert [phase.end - phase.start for phase in method.phases()] == [70, 49, 10, 49, 10, 49]
    short = build(replace(setup, epochs=1, steps_per_epoch=360, warmup_epochs=0), method="ofa")
    assert [phase.end - phase.start for phase in short.phases()] == [360, 250, 50, 250, 50, 250]
    short = build(replace(setup, epochs=1, steps_per_epoch=360, warmup_epochs=0), method="compofa", kernels=[3])
    assert [phase.end - phase.start for phase in short.phases()] == [360, 50, 250]


@pytest.mark.parametrize(("method", "ends"), [("ofa", [180, 305, 330, 455, 480, 605]), ("compofa", [180, 205, 330])])
def test_a_teacher_of_its_own_length_has_its_own_horizon(method, ends):
    setup = Setup(load_space("mbv3_224"), 270, 1, 2.7, 5, 0.1, 0.1)
    method = build(setup, method=method, teacher_ratio=180 / 270)
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
    assert build(setup, method="ofa", teacher_ratio=1.04).trunk_steps == 70


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        # 5 of 180 epochs are 10 steps; the peak is 2.7 / 2.7; a GPU of 64 has a share of 64 / batch of it
        (64, [1.0] * 10),
        (128, [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0]),
        (2048, [1 / 32 + 31 / 32 * n / 10 for n in range(1, 11)]),
        (32, [1.0] * 10),
    ],
)
def test_a_warm_up_climbs_from_the_rate_of_one_gpu(micro, batch, expected):
    method = build(Setup(micro, 180, 2, 2.7, 0, 0.1, 0.1, batch), method="ofa")
    kernel = method.phases()[1]
    assert [kernel.schedule(kernel.start + step) for step in range(10)] == pytest.approx(expected)
    assert kernel.schedule(kernel.start + 10) == pytest.approx(1.0)


def test_what_has_no_choice_has_no_phase(micro):
    setup = Setup(micro, 180, 1, 2.7, 0, 0.1, 0.1)

    def phases(**restriction):
        return [(phase.name, phase.end - phase.start) for phase in build(setup, method="ofa", **restriction).phases()]

    teacher, kernel, (depth, expand) = ("full model", 180), ("kernel", 125), (("depth 1", 25), ("expand 1", 25))
    assert phases(kernels=[5]) == [teacher, depth, ("depth 2", 125), expand, ("expand 2", 125)]
    assert phases(depths=[2, 3]) == [teacher, kernel, depth, ("depth 2", 125), expand, ("expand 2", 125)]
    assert phases(kernels=[5], depths=[3], expands=[2, 4]) == [teacher, expand, ("expand 2", 125)]
    assert phases(depths=[3], expands=[4]) == [teacher, kernel]
    restricted = build(setup, method="ofa", kernels=[5])
    assert [phase.freeze_teacher for phase in restricted.phases()][:3] == [False, True, False]


@pytest.mark.parametrize("method", ["deps", "bignas", "ofa", "rss"])
def test_any_method_can_be_restricted_to_a_part_of_the_space(method):
    space = load_space("mbv3_224")
    setup = Setup(space, 180, 10, 2.6, 0, 0.1, 0.1)
    method = build(setup, method=method, kernels=[7], depths=[2, 4])
    assert method.space == space.restrict(kernel=[7], depth=[2, 4])
    assert method.space.largest() == space.largest()
    assert method.space.pareto_archs().keys() <= {"D2E3K7", "D4E3K7", "D4E4K7", "D4E6K7"}
    blocks, depths = set(), set()
    for phase in method.phases():
        for number in range(40):
            for term in method.terms(phase.end - 1 - number % 10, Random(number)):
                assert term.arch in space
                blocks |= {block.kernel for stage in term.arch.stages for block in stage}
                depths |= set(term.arch.depths)
    assert (blocks, depths) == ({7}, {2, 4})


@pytest.mark.parametrize(
    ("restriction", "message"),
    [
        ({"kernels": [9]}, r"methods\.m\.kernels holds 9; the space offers 3, 5$"),
        ({"kernels": [3]}, r"methods\.m\.kernels is \[3\]; expected 5 too, which the full model has"),
        ({"depths": []}, r"methods\.m\.depths is \[\]; expected a non-empty list of whole numbers, or"),
        ({"expands": [4, 2]}, r"methods\.m\.expands is \[4, 2\]; expected ascending values$"),
        ({"expands": ["x"]}, r"methods\.m\.expands"),
    ],
)
def test_impossible_restrictions_are_refused(setup, restriction, message):
    with pytest.raises(UserError, match=message):
        build(setup, method="deps", **restriction)


def test_compofa_restricted_keeps_each_depths_ratio():
    setup = Setup(load_space("mbv3_224"), 180, 10, 2.6, 0, 0.1, 0.1)
    method = build(setup, method="compofa", depths=[3, 4])
    archs = [method.space.sample(Random(seed)) for seed in range(60)]
    pairs = {(len(stage), stage[0].expand) for arch in archs for stage in arch.stages}
    assert pairs == {(3, 4), (4, 6)}  # as in the whole of CompOFA's space
    with pytest.raises(UserError, match=r"methods\.m\.expands is \[4\.0, 6\.0\]; here the ratio follows the depth"):
        build(setup, method="compofa", expands=[4, 6])


def test_stages_without_a_choice_keep_what_they_have():
    space = load_space("proxyless_224")
    method = build(Setup(space, 10, 1, 2.6, 0, 0.1, 0.1), method="deps", depths=[2, 4])
    assert [stage.depth for stage in method.space.stages] == [[2, 4]] * 5 + [[1]]


def test_bignas_by_its_own_paper(setup):
    params = unchecked(["methods=[bignas_paper]"], ROOT / "params")[0]["experiments"]["quick"]["methods"][
        "bignas_paper"
    ]
    setup = replace(setup, epochs=360, steps_per_epoch=10, warmup_epochs=0, learning_rate=0.256)
    (phase,) = registry.build(params, "methods.m", setup).phases()
    assert phase.zero_gamma
    # 0.97 every 2.4 epochs, until 5 % of the peak
    for epoch in (0, 24, 120, 230):
        assert phase.schedule(10 * epoch) == pytest.approx(0.256 * 0.97 ** (epoch / 2.4), rel=5e-3)
    assert [phase.schedule(10 * epoch) for epoch in (240, 300, 359)] == pytest.approx([0.0128] * 3)
    (default,) = build(setup, method="bignas").phases()
    assert not default.zero_gamma
    assert default.schedule == setup.schedule()
    dropouts = [term.dropout for term in build(setup, method="bignas", regularise="all").terms(0, Random(0))]
    assert dropouts == [0.2] * 4
    assert [term.dropout for term in build(setup, method="bignas").terms(0, Random(0))] == [0.2, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("experiment", "start", "full"),
    [("cifar10", 95, 100), ("cifar100", 95, 100), ("imagenet100", 85, 90), ("imagenet1k", 145, 150)],
)
def test_presets_shrink_when_the_published_runs_did(experiment, start, full):
    params, _ = composed([f"experiment=[{experiment}]"])
    own = params["experiments"][experiment]
    train, space = own["train"], structured(SearchSpace, own["space"], "space")
    setup = Setup(space, train["epochs"], 100, train["learning_rate"], train["warmup_epochs"], 0.1, 0.1)
    method = registry.build(own["methods"]["deps"], "methods.deps", setup)
    assert method.trunk_steps == 100 * start
    assert [(phase.start, phase.sort) for phase in method.phases()] == [(0, None), (100 * start, "groups")]
    eta, target = setup.schedule(), setup.schedule()(100 * full)
    for step in (100 * start, 100 * start + 249, 100 * full - 1):  # β·η climbs linearly to η(full)
        assert method.ramp(step) * eta(step) == pytest.approx(target * (step - 100 * start + 1) / 500)
    assert method.ramp(100 * full) == 1.0
    assert own["methods"]["deps"]["kernels"] == own["methods"]["bignas"]["kernels"] == [7]
    assert {block.kernel for stage in method.space.smallest().stages for block in stage} == {7}
    assert start in [round(share * train["epochs"]) for share in own["full_model"]["keep"]]


def test_compofa_couples_depth_and_expand(micro):
    method = build(Setup(micro, 180, 1, 2.6, 0, 0.1, 0.1), method="compofa", kernels=[3, 5, 3])
    assert [phase.end for phase in method.phases()] == [180, 205, 330]
    assert [phase.schedule.base for phase in method.phases()[1:]] == pytest.approx([0.08, 0.24], abs=1e-3)
    assert [phase.sort for phase in method.phases()] == [None, "all", "all"]
    assert not method.kernel_transform
    assert method.space.size() == 3**3
    archs = [term.arch for seed in range(30) for term in method.terms(320, Random(seed))]
    for arch in archs:
        assert arch in method.space
        assert arch in micro
        assert [{block.kernel for block in stage} for stage in arch.stages] == [{3}, {5}, {3}]
        assert all({block.expand for block in stage} == {len(stage) + 1} for stage in arch.stages)
    early = [term.arch for seed in range(30) for term in method.terms(190, Random(seed))]
    assert {depth for arch in early for depth in arch.depths} == {1, 2, 3}


def test_compofa_on_proxyless_leaves_the_single_blocks_ratio_free():
    # As its public code samples: the last stage's ratio is that of a depth drawn for it, which it has not.
    space = load_space("proxyless_224")
    method = build(Setup(space, 180, 1, 2.6, 0, 0.1, 0.1), method="compofa", kernels=[3])
    assert method.space.size() == 3**6
    archs = {term.arch for seed in range(60) for term in method.terms(300, Random(seed))}
    pairs = {(len(stage), block.expand) for arch in archs for stage in arch.stages[:-1] for block in stage}
    assert pairs == {(2, 3), (3, 4), (4, 6)}
    assert {arch.stages[-1] for arch in archs} == {(Block(3, expand),) for expand in (3, 4, 6)}
    for arch in archs:
        assert arch in method.space
        assert method.space.from_genome(method.space.to_genome(arch)) == arch
        turned = translate(method.space, space)(np.array([method.space.to_genome(arch)]))
        assert space.from_genome(turned[0].tolist()) == arch
    points = method.space.pareto_archs()
    assert [arch.stages[-1][0].expand for arch in points.values()] == [3, 4, 6]


def test_compofa_has_243_archs_in_the_papers_space():
    space = load_space("mbv3_224")
    method = build(Setup(space, 180, 1, 2.6, 0, 0.1, 0.1), method="compofa")
    assert method.space.size() == 243


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "sgd"}, r"methods\.m\.method is 'sgd'; allowed: .*deps.*rss"),
        ({}, r"methods\.m has no 'method'"),
        ({"method": "deps", "shrink_start": 1.01}, r"methods\.m\.shrink_start is 1\.01; expected 0 to 1$"),
        ({"method": "deps", "shrink_start": float("nan")}, r"shrink_start is nan; expected a finite number"),
        ({"method": "deps", "epsilon": -0.1}, r"methods\.m\.epsilon is -0\.1; expected 0 to 1$"),
        ({"method": "deps", "temperature": 0}, r"methods\.m\.temperature is 0; expected 0\.0001 to 10,000$"),
        ({"method": "deps", "ramp_shape": "bent"}, r"ramp_shape is 'bent'; allowed: linear, cosine"),
        ({"method": "deps", "ramp_shape": "constant"}, r"epsilon is 0 with ramp_shape constant"),
        ({"method": "ofa", "distillation": -1}, r"methods\.m\.distillation is -1; expected 0 to 10,000$"),
        (
            {"method": "compofa", "kernels": []},
            r"methods\.m\.kernels is \[\]; expected a non-empty list of whole numbers$",
        ),
        (
            {"method": "compofa", "kernels": [7]},
            r"methods\.m\.kernels gives stage 0 kernel 7; the space offers \[3, 5\]",
        ),
        ({"method": "ofa", "teacher_ratio": 0}, r"methods\.m\.teacher_ratio is 0; expected above 0 up to 10,000$"),
        (
            {"method": "compofa", "teacher_ratio": -1},
            r"methods\.m\.teacher_ratio is -1; expected above 0 up to 10,000$",
        ),
        ({"method": "bignas", "epochs_ratio": 0}, r"methods\.m\.epochs_ratio is 0; expected above 0"),
        ({"method": "rss_short", "epochs_ratio": 0}, r"methods\.m\.epochs_ratio is 0; expected above 0"),
        ({"method": "bignas_paper", "temperature": 0}, r"methods\.m\.temperature is 0; expected 0\.0001"),
        ({"method": "deps", "divergence": "kl"}, r"methods\.m\.divergence is 'kl'; allowed: forward, reverse, symm"),
        ({"method": "ofa", "divergence": "js"}, r"methods\.m\.divergence is no known key"),
        ({"method": "alphanet", "alpha_min": 0.0}, r"methods\.m\.alpha_min is 0\.0; expected -10 up to below 0$"),
        ({"method": "alphanet", "alpha_max": 1.5}, r"methods\.m\.alpha_max is 1\.5; expected above 0 up to 1$"),
        ({"method": "alphanet", "importance_clip": 1.0}, r"methods\.m\.importance_clip is 1\.0; expected above 1 up"),
        ({"method": "alphanet", "gradient_clip": 0}, r"methods\.m\.gradient_clip is 0; expected above 0 up to 10,000"),
        ({"method": "deps", "kernels": [7, 5]}, r"methods\.m\.kernels is \[7, 5\]; expected ascending values$"),
        ({"method": "rss", "epochs_ratio": 0}, r"methods\.m\.epochs_ratio is 0; expected above 0"),
        ({"method": "standalone", "arch": "D7"}, r"standalone\.arch is 'D7'; allowed: smallest, largest, D1E2K5"),
        (
            {"method": "rss", "shrink_start": 0.5},
            r"methods\.m\.shrink_start is no known key; allowed: kernels, depths, exp",
        ),
    ],
)
def test_impossible_options_are_refused(setup, params, message):
    with pytest.raises(UserError, match=message):
        registry.build(params, "methods.m", setup)


def test_every_method_file_is_found():
    assert {"alphanet", "bignas", "bignas_paper", "compofa", "deps", "full_model", "ofa", "rss", "rss_short"} <= set(
        registry.names()
    )
    assert [look.label for look in registry.looks().values()][:3] == ["DεpS", "OFA", "CompOFA"]
    assert "standalone" not in registry.looks()


@pytest.mark.parametrize("name", registry.names())
def test_each_method_has_params_of_its_own_name(name):
    """A method is one file and one YAML; the trunk, and archs trained alone or on, have stages instead."""
    file = Path(f"params/method/{name}.yaml")
    assert file.exists() != (name in ("full_model", "standalone", "finetune"))
    if file.exists():
        assert yaml.safe_load(file.read_text())["method"] == name


def test_methods_are_asked_without_torch():
    code = "import sys; from dεps.methods import registry; registry.looks(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_rss_short_is_rss_for_the_full_models_epochs(setup):
    short, long = build(setup, method="rss_short"), build(setup, method="rss", epochs_ratio=1.0)
    assert short.phases() == long.phases()
    assert short.terms(3, Random(1)) == long.terms(3, Random(1))


def test_the_old_key_of_a_method_is_named(setup):
    with pytest.raises(UserError, match=r"methods\.m\.strategy is no known key; it is called method now"):
        registry.options({"strategy": "deps"}, "methods.m")


@pytest.mark.parametrize("method", sorted({*registry.looks()} - {"bignas_paper"}))
def test_the_rate_of_every_phase_falls_as_the_experiment_says(method):
    cosine = Setup(load_space("mbv3_micro_64"), 180, 10, 2.6, 2, 0.1, 0.1)
    line = replace(cosine, decay="linear")
    own = {"kernels": [3]} if method == "compofa" else {}
    for phase, other in zip(*(build(setup, method=method, **own).phases() for setup in (cosine, line)), strict=True):
        assert (type(phase.schedule), type(other.schedule)) == (CosineSchedule, LinearSchedule)
        assert vars(phase.schedule) == vars(other.schedule)
