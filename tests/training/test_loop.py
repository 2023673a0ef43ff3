import copy
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dεps.core.errors import UserError
from dεps.core.randomness import python_rng
from dεps.core.schema import structured
from dεps.data.batches import Normalise, plain_batches, training_batches
from dεps.data.config import AugmentConfig
from dεps.evaluation.accuracy import Recalibration, top1
from dεps.methods import full_model, registry
from dεps.methods.base import Term
from dεps.methods.losses import CrossEntropy, InPlaceDistillation, Targets
from dεps.nets.mobilenet.geometry import middle_width
from dεps.spaces.cost import arch_cost
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.training.snapshot import load_snapshot, write_snapshot

CONFIG = TrainConfig(epochs=4, batch_size=32, learning_rate=0.05, validate_recalibration=40)


def trainer(space, data, config=CONFIG, seed=0, **params) -> Trainer:
    setup = config.setup(space, data)
    if params:
        return Trainer(space, data, config, registry.build(params, "m", setup), seed)
    return Trainer(space, data, config, full_model.build(full_model.Options(), setup), seed)


DEPS = {"method": "deps", "shrink_start": 0.5, "ramp_epochs": 1.0}


def finish(run: Trainer) -> Trainer:
    for _ in run.run():
        pass
    return run


def same(a: Trainer, b: Trainer) -> bool:
    ours, theirs = a.snapshot(), b.snapshot()
    equal = all(torch.equal(tensor, theirs.tensors[name]) for name, tensor in ours.tensors.items())
    return equal and (ours.step, ours.macs, ours.history) == (theirs.step, theirs.macs, theirs.history)


def test_training_learns(micro, data):
    # Chance is 25 %.
    run = finish(
        trainer(micro, data, TrainConfig(epochs=6, batch_size=32, learning_rate=0.05, validate_recalibration=40))
    )
    assert run.history[-1]["train/loss_full"] < 0.6 * run.history[0]["train/loss_full"]
    assert run.history[-1]["val/largest_top1"] > 50.0


def test_the_same_seed_gives_the_same_bits_and_another_does_not(micro, data):
    first, second, third = (finish(trainer(micro, data, seed=seed, **DEPS)) for seed in (0, 0, 1))
    assert same(first, second)
    assert not same(first, third)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_is_the_undisturbed_one(micro, data, tmp_path, stop):
    whole = finish(trainer(micro, data, **DEPS))
    part = trainer(micro, data, **DEPS)
    records = part.run()
    for _ in range(stop):
        next(records)
    write_snapshot(tmp_path / "state.safetensors", part.snapshot())
    resumed = trainer(micro, data, **DEPS)
    resumed.restore(load_snapshot(tmp_path / "state.safetensors"))
    assert same(finish(resumed), whole)


METHODS = {
    "deps": DEPS,
    "ofa": {"method": "ofa", "epochs_ratio": 0.5},
    "rss": {"method": "rss", "epochs_ratio": 0.5},
    "alphanet": {"method": "alphanet"},
}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_resumed_at_any_step_is_the_undisturbed_one(micro, data, tmp_path, method):
    config = TrainConfig(
        epochs=2, batch_size=48, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40
    )
    whole = trainer(micro, data, config, **METHODS[method])
    steps = []

    def after_step() -> None:
        steps.append(tmp_path / f"{whole.step}.safetensors")
        write_snapshot(steps[-1], whole.snapshot())

    whole.on_step = after_step
    finish(whole)
    assert len(steps) == whole.total_steps
    # Around the ends of epochs and phases, and within an epoch; the last step's state lacks the last epoch's record.
    ends = {whole.steps_per_epoch, whole.total_steps, *(phase.end for phase in whole.phases)}
    chosen = {1, *(end + offset for end in ends for offset in (-1, 0, 1) if 0 < end + offset <= len(steps))}
    for step in sorted(chosen):
        resumed = trainer(micro, data, config, **METHODS[method])
        resumed.restore(load_snapshot(tmp_path / f"{step}.safetensors"))
        assert same(finish(resumed), whole), step


def test_a_phases_limit_cuts_off_the_summed_gradients(micro, data):
    """In the first step momentum is the gradient: the sum over all subnets, cut off once, with decay added after."""
    config = replace(CONFIG, weight_decay=0.0)
    free, cut = (trainer(micro, data, config, method="alphanet", gradient_clip=clip) for clip in (None, 1e-3))
    for run in (free, cut):
        batches = training_batches(data.train, run.normalise, config.augment, batch_size=32, seed=0, epoch=0)
        images, labels = next(iter(batches))
        run._step(images.to(memory_format=run.memory_format), labels, run.phases[0])
    limited = 0
    for (name, one), other in zip(free.net.named_parameters(), cut.net.parameters(), strict=True):
        assert torch.equal(cut._momentum(other), free._momentum(one).clamp(-1e-3, 1e-3)), name
        limited += int((free._momentum(one).abs() > 1e-3).sum())
    assert limited > 100


def entered(micro, data, **params) -> tuple[Trainer, Trainer]:
    """A training that has come to its second phase, before and after it enters it."""
    config = TrainConfig(
        epochs=1, batch_size=48, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40
    )
    runs = trainer(micro, data, config, **params), trainer(micro, data, config, **params)
    for run in runs:
        for _ in run.run(until=run.phases[1].start):
            pass
    runs[1]._enter(runs[1].phases[1])
    return runs


@pytest.mark.parametrize("method", ["ofa", "compofa"])
def test_phases_under_a_teacher_have_an_optimizer_of_their_own(micro, data, method):
    before, after = entered(micro, data, method=method, **({"kernels": [3]} if method == "compofa" else {}))
    momentum = [[run._momentum(parameter) for parameter in run.net.parameters()] for run in (before, after)]
    assert sum(bool(tensor.any()) for tensor in momentum[0]) > 50
    assert not any(tensor.any() for tensor in momentum[1])
    # Their first step is SGD's first: w - η (1 + momentum) (g + λ w) with Nesterov, whatever came before.
    records, weight = after.run(), after.net.body.blocks[1].project.weight
    old, seen = weight.detach().clone(), []
    after.on_step = lambda: seen.append((weight.detach().clone(), weight.grad.clone()))
    next(records)
    (new, gradient), rate = seen[0], after.phases[1].schedule(after.phases[1].start)
    torch.testing.assert_close(new, old - rate * 1.9 * (gradient + 3e-5 * old), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("train_mode", [True, False])
def test_the_teacher_normalises_as_asked_for(micro, data, train_mode):
    _, run = entered(micro, data, method="ofa", teacher_in_train_mode=train_mode)
    images, _ = next(plain_batches(data.validation, Normalise.of(data), batch_size=40))
    with torch.no_grad():
        alone, among = run.teacher(images[:20]), run.teacher(images)[:20]
        assert torch.allclose(alone, among, atol=1e-5) is not train_mode
        if train_mode:  # as the full model itself does while it trains
            torch.testing.assert_close(
                run.teacher(images), run.net.train()(images, micro.largest()), atol=1e-5, rtol=1e-4
            )


def test_blocks_begin_as_the_identity_where_gamma_is_zero(micro, data):
    runs = [trainer(micro, data, method="bignas_paper", zero_gamma=zero) for zero in (True, False)]
    for run in runs:
        run._enter(run.phases[0])
    for zero, run in zip((True, False), runs, strict=True):
        residual = [block for block in run.net.body.blocks if block.largest.skip]
        assert len(residual) == 7  # the static block and two in each of three stages
        for block in residual:
            x = torch.randn(2, block.largest.inputs, 5, 5, generator=torch.Generator().manual_seed(0))
            assert torch.equal(block(x, block.largest), x) is zero
        others = [block.project_bn.weight for block in run.net.body.blocks if not block.largest.skip]
        assert all(torch.equal(weight, torch.ones_like(weight)) for weight in others)


def test_phases_end_within_epochs(micro, data):
    config = TrainConfig(
        epochs=2, batch_size=24, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40
    )
    run = trainer(micro, data, config, method="ofa", epochs_ratio=0.4)
    seen, per_epoch = [], run.steps_per_epoch
    enter, run._enter = run._enter, lambda phase: (seen.append((phase.name, run.step)), enter(phase))
    finish(run)
    assert seen == [(phase.name, phase.start) for phase in run.phases]  # each once, at its own step
    assert any(phase.start % per_epoch for phase in run.phases)
    assert run.total_steps % per_epoch
    assert run.step == run.total_steps == run.history[-1]["step"]
    assert [record["epoch"] for record in run.history] == list(range(1, -(-run.total_steps // per_epoch) + 1))
    begun = {name: epoch for record in run.history for name, epoch in record.get("phases", {}).items()}
    assert begun == {phase.name: round(phase.start / per_epoch, 6) for phase in run.phases}


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_branch_is_the_method_without_a_trunk(micro, data, epochs):
    trunk = trainer(micro, data)
    for _ in trunk.run(until=epochs * trunk.steps_per_epoch):
        pass
    branch = trainer(micro, data, **DEPS)
    branch.restore(copy.deepcopy(trunk.snapshot()))
    assert same(finish(branch), finish(trainer(micro, data, **DEPS)))


BRANCHING = {
    "ofa": {"method": "ofa", "epochs_ratio": 0.5},
    "compofa": {"method": "compofa", "kernels": [3, 5, 3], "epochs_ratio": 0.5},
}


@pytest.mark.parametrize("method", BRANCHING)
@pytest.mark.parametrize("validate_every", [1, 3])
def test_methods_with_a_teacher_branch_from_the_finished_trunk(micro, data, method, validate_every):
    sizes = {"validate_recalibration": 40, "teacher_recalibration": 40, "validate_every": validate_every}
    config = TrainConfig(epochs=2, batch_size=32, learning_rate=0.05, **sizes)
    trunk = finish(trainer(micro, data, config))
    branch = trainer(micro, data, config, **BRANCHING[method])
    assert branch.method.trunk_steps == trunk.step
    branch.restore(copy.deepcopy(trunk.snapshot()))
    whole = finish(trainer(micro, data, config, **BRANCHING[method]))
    assert same(finish(branch), whole)


def test_a_teacher_trained_apart_is_a_full_model_of_its_own_length(micro, data):
    short, long = (
        TrainConfig(epochs=n, batch_size=32, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40)
        for n in (1, 2)
    )
    alone = finish(trainer(micro, data, short))
    whole = trainer(micro, data, long, **BRANCHING["ofa"], teacher_ratio=0.5)
    first = next(whole.run())
    assert whole.method.trunk_steps == 0
    assert first == alone.history[0]
    tensors = whole.snapshot().tensors
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in alone.snapshot().tensors.items())
    transforms = [tensor for name, tensor in tensors.items() if name.startswith("net.") and ".transforms." in name]
    assert transforms
    assert all(torch.equal(tensor, torch.eye(len(tensor))) for tensor in transforms)  # not decayed


@pytest.mark.parametrize("method", BRANCHING)
def test_a_resumed_run_keeps_its_teacher(micro, data, tmp_path, method):
    config = TrainConfig(
        epochs=1, batch_size=32, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40
    )
    whole = finish(trainer(micro, data, config, **BRANCHING[method]))
    part = trainer(micro, data, config, **BRANCHING[method])
    records = part.run()
    next(records), next(records)
    write_snapshot(tmp_path / "state.safetensors", part.snapshot())
    resumed = trainer(micro, data, config, **BRANCHING[method])
    resumed.restore(load_snapshot(tmp_path / "state.safetensors"))
    assert same(finish(resumed), whole)


def test_the_teachers_forward_is_charged(micro, data):
    config = TrainConfig(
        epochs=1, batch_size=32, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40
    )
    run = trainer(micro, data, config, **BRANCHING["compofa"])
    finish(run)
    macs_of, steps, taught = run.macs_of, run.steps_per_epoch, range(run.steps_per_epoch, run.total_steps)
    full = macs_of(micro.largest())
    archs = [t.arch for s in taught for t in run.method.terms(s, python_rng(0, "archs", s))]
    assert len(archs) == 4 * len(taught) > 0
    expected = 3 * full * steps + full * len(taught) + 3 * sum(map(macs_of, archs))
    assert run.macs == 32 * expected


def test_deps_without_delay_ramp_and_sorting_is_bignas(micro, data):
    deps = {"shrink_start": 0.0, "ramp_shape": "constant", "epsilon": 1.0, "sort_channels": False}
    assert same(finish(trainer(micro, data, method="deps", **deps)), finish(trainer(micro, data, method="bignas")))


@pytest.mark.parametrize("switch", [{"distill": False}, {"sort_channels": False}])
def test_deps_switches_change_the_result_from_shrink_start_on(micro, data, switch):
    base, other = finish(trainer(micro, data, **DEPS)), finish(trainer(micro, data, **DEPS, **switch))
    assert base.history[:2] == other.history[:2]
    assert base.history[2] != other.history[2]
    assert base.macs == other.macs or "distill" not in switch


def test_gradients_are_the_weighted_sum_of_each_subnets_masked_ones(micro, data):
    config = TrainConfig(epochs=4, batch_size=32, learning_rate=0.05, dropout=0.0, momentum=0.0, weight_decay=0.0)
    run = trainer(micro, data, config, method="deps", shrink_start=0.0, ramp_epochs=2.0, sort_channels=False)
    net, terms = copy.deepcopy(run.net).train(), run.method.terms(0, Random(0))
    assert 0 < terms[1].weight < 1
    images, labels = next(training_batches(data.train, run.normalise, config.augment, batch_size=32, seed=0, epoch=0))
    full = net(images, terms[0].arch).detach()
    expected = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    for term in terms:
        alone = copy.deepcopy(net)
        loss = CrossEntropy(0.1) if term is terms[0] else InPlaceDistillation()
        loss(alone(images, term.arch), Targets(labels, full=full)).backward()
        for name, parameter in alone.named_parameters():
            if parameter.grad is not None:
                expected[name] += term.weight * parameter.grad
    targets = Targets(labels)
    for term in terms:
        logits = run.net.train()(images, term.arch)
        if term is terms[0]:
            targets.full = logits.detach()
        (term.weight * term.loss(logits, targets)).backward()
    for name, parameter in run.net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-5)


def test_unused_weights_still_decay_and_keep_their_momentum(micro, data):
    config = TrainConfig(epochs=1, batch_size=32, learning_rate=0.1, weight_decay=0.1, validate_every=9)
    run = trainer(micro, data, config, method="rss", epochs_ratio=1.0)
    run.method = SimpleNamespace(
        terms=lambda step, rng: _smallest(micro), trunk_steps=0, space=micro, resolution=micro.resolution
    )
    before = run.net.body.blocks[3].project.weight.detach().clone()  # inactive in the smallest arch
    next(run.run())
    after = run.net.body.blocks[3].project.weight.detach()
    assert (after.abs() < before.abs())[before != 0].all()
    assert run.snapshot().tensors["momentum.body.blocks.3.project.weight"].abs().sum() > 0


def _smallest(space):
    from dεps.methods.base import Term

    return [Term(space.smallest(), CrossEntropy())]


def test_training_cost_counts_every_forward_and_backward(micro, data):
    run = finish(trainer(micro, data))
    macs = arch_cost(micro, micro.largest(), 4, 1).macs
    assert run.macs == 3 * macs * 4 * (192 // 32) * 32
    assert run.history[-1]["cost/train_tmacs"] == round(run.macs / 1e12, 6)


@pytest.mark.parametrize("params", [DEPS, BRANCHING["compofa"], {"method": "rss", "epochs_ratio": 1.0}])
def test_mixed_and_transformed_images_train_and_resume(micro, data, params):
    augment = AugmentConfig(resized_crop=0.5, color_jitter=[0.2, 0.2, 0.0, 0.0], mixup=0.2, cutmix=1.0)
    config = TrainConfig(
        epochs=2,
        batch_size=32,
        validate_recalibration=40,
        teacher_recalibration=40,
        augment=augment,
        label_smoothing=0.1,
    )
    whole = finish(trainer(micro, data, config, **params))
    assert all(record["train/loss_full"] > 0 for record in whole.history if "train/loss_full" in record)
    part = trainer(micro, data, config, **params)
    next(part.run())
    resumed = trainer(micro, data, config, **params)
    resumed.restore(copy.deepcopy(part.snapshot()))
    assert same(finish(resumed), whole)


def test_one_arch_alone_is_trained_validated_and_charged(micro, data):
    arch = micro.restrict([2], [5], [2]).largest()
    config = replace(CONFIG, epochs=1, weight_decay=0.0)
    method = registry.build({"method": "standalone", "arch": str(arch)}, "m", config.setup(micro, data))
    run = Trainer(micro, data, config, method, 0, {"alone": arch})
    before = copy.deepcopy(run.net.state_dict())
    (record,) = run.run()
    indices = Recalibration.of(data.train, config.validate_recalibration, 0)
    assert record["val/alone_top1"] == round(top1(run.net, arch, data, data.validation, indices), 4)
    assert [key for key in record if key.startswith("val/")] == ["val/alone_top1"]
    assert run.macs == 3 * run.total_steps * 32 * arch_cost(micro, arch, 4, 1).macs
    mid = middle_width(16, 2)  # of the second block of the first stage
    after, name = run.net.state_dict(), "body.blocks.2.project.weight"
    assert not torch.equal(after[name][:, :mid], before[name][:, :mid])
    assert torch.equal(after[name][:, mid:], before[name][:, mid:])
    assert torch.equal(
        after["body.blocks.3.project.weight"], before["body.blocks.3.project.weight"]
    )  # a third block it lacks


def test_smallest_and_largest_are_the_first_and_the_last_pareto_point(micro, data):
    config = replace(CONFIG, epochs=2)
    run = finish(trainer(micro, data, config, method="bignas"))
    images = Recalibration.of(data.train, config.validate_recalibration, 0)
    first, *_, last = micro.pareto_archs().values()
    found = {
        name: round(top1(run.net, arch, data, data.validation, images), 4)
        for name, arch in (("smallest", first), ("largest", last), ("least", micro.smallest()))
    }
    assert {key: value for key, value in run.history[-1].items() if key.startswith("val/")} == {
        "val/smallest_top1": found["smallest"],
        "val/largest_top1": found["largest"],
    }
    assert found["least"] != found["smallest"]  # the sandwich's own smallest arch, whose kernels are the smallest


def test_the_trunks_archs_are_not_called_smallest_and_largest_where_a_methods_own_are_others(micro, data):
    config = replace(CONFIG, epochs=2, teacher_recalibration=40)
    trunk = finish(trainer(micro, data, config))
    run = trainer(micro, data, config, **BRANCHING["compofa"])
    run.restore(copy.deepcopy(trunk.snapshot()))
    finish(run)
    validated = [{key: value for key, value in record.items() if key.startswith("val/")} for record in run.history]
    teacher = [{"val/full_model_top1": record["val/largest_top1"]} for record in trunk.history]
    assert validated[:2] == teacher
    assert all(set(record) == {"val/smallest_top1", "val/largest_top1"} for record in validated[2:])
    images = Recalibration.of(data.train, config.validate_recalibration, 0)
    space = micro.couple([3, 5, 3])
    for name, arch in (("smallest", space.smallest()), ("largest", space.largest())):
        assert validated[-1][f"val/{name}_top1"] == round(top1(run.net, arch, data, data.validation, images), 4)
    ofa = trainer(micro, data, config, **BRANCHING["ofa"])
    ofa.restore(copy.deepcopy(trunk.snapshot()))
    assert ofa.history == trunk.history


def test_a_loss_that_is_not_finite_ends_the_training_in_its_step(micro, data, tmp_path):
    config = replace(CONFIG, learning_rate=1e6, label_smoothing=0.0)
    run = trainer(micro, data, config, **DEPS)
    run.label, steps = "train quick deps-0", []
    run.on_step = lambda: steps.append(run.step)
    with pytest.raises(UserError) as caught:
        finish(run)
    rate = run.phases[0].schedule(run.step)
    assert steps == list(range(1, run.step + 1))
    assert str(caught.value).startswith(
        f"train quick deps-0: the loss is not finite any more in step {run.step + 1} of {run.total_steps} "
        f"(learning rate {rate:g}, float32); lower train.learning_rate"
    )
    assert run.history == []


def spoiled(tensors: dict[str, torch.Tensor], name: str, value: float) -> None:
    tensors[name].view(-1)[-1] = value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.body.blocks.3.project.weight", float("nan")),
        ("net.body.stem_bn.running_var", float("inf")),
        ("momentum.classifier.bias", float("-inf")),
    ],
)
def test_a_state_that_is_not_finite_is_neither_recorded_nor_saved_nor_read(micro, data, tmp_path, name, value):
    run = trainer(micro, data)
    run.on_step = lambda: spoiled(run.snapshot().tensors, name, value) if run.step == 6 else None
    with pytest.raises(UserError, match=rf"'{name}' is not finite any more by step 6 of 24 \(learning rate"):
        next(run.run())
    assert run.history == []
    path = tmp_path / "state.safetensors"
    with pytest.raises(UserError, match=rf"'{name}' has numbers that are not finite"):
        write_snapshot(path, run.snapshot())
    assert list(tmp_path.iterdir()) == []
    fine = trainer(micro, data).snapshot()
    write_snapshot(path, fine)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    spoiled(fine.tensors, name, value)
    save_file({key: tensor.contiguous() for key, tensor in fine.tensors.items()}, path, metadata)
    with pytest.raises(UserError, match=rf"{path} cannot be used: '{name}' has numbers that are not finite"):
        load_snapshot(path)


def test_losses_on_a_gpu_are_checked_before_anything_is_saved(micro, data):
    run = trainer(micro, data)
    run.sums.add(Term(micro.largest(), CrossEntropy(), full=True), torch.tensor(float("nan")))
    run.step = 4  # as after a step that did not look at its loss
    with pytest.raises(UserError, match="a loss is not finite any more by step 4 of 24"):
        run.check_finite()


def test_fp16_may_leave_out_steps_but_not_all_of_them(micro, data, monkeypatch):
    run = trainer(micro, data)
    run.precision = SimpleNamespace(overflows=True, exhausted=False, state=dict)
    term = Term(micro.largest(), CrossEntropy(), full=True)
    for loss in (float("inf"), 2.0, float("nan"), 3.0):
        run.sums.add(term, torch.tensor(loss))
    run.check_finite()
    assert run.sums.means() == {"train/loss_full": 2.5}
    assert run.snapshot().tensors["losses.train/loss_full"].tolist() == [2.0, 3.0]
    run.sums.losses["train/loss_full"] = [torch.tensor(float("nan"))]
    run.step = 6
    with pytest.raises(UserError, match="all losses of an epoch in fp16 are not finite any more by step 6"):
        run._close_epoch()
    run.precision.exhausted = True
    with pytest.raises(UserError, match="every step in fp16 overflows"):
        run.check_finite()


def test_a_state_of_another_space_is_refused(micro, data):
    run = trainer(micro, data)
    state = run.snapshot()
    state.tensors["net.extra"] = torch.zeros(1)
    with pytest.raises(UserError, match=r"net\.extra"):
        run.restore(state)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 100])
def test_damaged_checkpoints_are_refused(micro, data, tmp_path, damage):
    path = tmp_path / "state.safetensors"
    write_snapshot(path, trainer(micro, data).snapshot())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="is no readable training state"):
        load_snapshot(path)


def test_one_resolution_a_batch(micro, data):
    space = replace(micro, resolution=[20, 24, 28])
    run = trainer(space, data, **DEPS)
    sizes = []
    body = run.net.body.forward
    run.net.body.forward = lambda images, arch: sizes.append((images.shape[-1], arch.resolution)) or body(images, arch)
    run.full_body = lambda images: run.net.body(images, space.largest().at(images.shape[-1]))
    finish(run)
    forwards = [size for size in sizes[: -2 * 2] if size[0] != 28 or size[1] == 28]
    assert {size for size, _ in forwards} == {20, 24, 28}
    assert all(size == resolution for size, resolution in forwards)
    drawn = [python_rng(0, "resolution", step).choice([20, 24, 28]) for step in range(run.total_steps)]
    terms = [run.method.terms(step, python_rng(0, "archs", step)) for step in range(run.total_steps)]
    macs = sum(run.macs_of(term.arch.at(size)) for size, step in zip(drawn, terms, strict=True) for term in step)
    assert run.macs == 3 * 32 * macs
    resumed = trainer(space, data, **DEPS)
    part = trainer(space, data, **DEPS)
    next(part.run())
    resumed.restore(copy.deepcopy(part.snapshot()))
    assert same(finish(resumed), finish(trainer(space, data, **DEPS)))


def test_bf16_learns_and_resumes(micro, data):
    config = replace(CONFIG, precision="bf16")
    whole = finish(trainer(micro, data, config, **DEPS))
    assert whole.history[1]["train/loss_full"] < whole.history[0]["train/loss_full"]
    assert whole.history != finish(trainer(micro, data, **DEPS)).history
    assert all(parameter.dtype == torch.float32 for parameter in whole.net.parameters())
    part = trainer(micro, data, config, **DEPS)
    next(part.run())
    resumed = trainer(micro, data, config, **DEPS)
    resumed.restore(copy.deepcopy(part.snapshot()))
    assert same(finish(resumed), whole)


def test_native_operators_learn_the_same_and_resume(micro, data):
    config = replace(CONFIG, operators="native")
    whole, plain = finish(trainer(micro, data, config, **DEPS)), finish(trainer(micro, data, **DEPS))
    assert whole.history[0]["train/loss_full"] == pytest.approx(plain.history[0]["train/loss_full"], abs=1e-3)
    assert whole.history != plain.history
    part = trainer(micro, data, config, **DEPS)
    next(part.run())
    resumed = trainer(micro, data, config, **DEPS)
    resumed.restore(copy.deepcopy(part.snapshot()))
    assert same(finish(resumed), whole)


@pytest.mark.parametrize(
    ("change", "needs"),
    [
        ({"precision": "bf16"}, "precision float32"),
        ({"channels_last": False}, "channels_last true"),
        ({"compile": True}, "compile false"),
    ],
)
def test_native_operators_with_what_they_cannot_do_are_refused(change, needs):
    expected = f"^train.operators is 'native', which needs {needs}; set operators to torch, or that$"
    with pytest.raises(UserError, match=expected):
        structured(TrainConfig, {"operators": "native", **change}, "train")


def test_native_operators_on_a_gpu_are_refused(micro, data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    expected = "^train.operators is 'native', which is for CPUs; set train.device to cpu, or operators to torch$"
    with pytest.raises(UserError, match=expected):
        trainer(micro, data, TrainConfig(operators="native"))


def test_memory_format_changes_rounding_only(micro, data):
    config = replace(CONFIG, epochs=1)
    last, first = (finish(trainer(micro, data, replace(config, channels_last=on))) for on in (True, False))
    assert last.net.body.blocks[1].expand.weight.is_contiguous(memory_format=torch.channels_last)
    assert first.history[0]["train/loss_full"] == pytest.approx(last.history[0]["train/loss_full"], abs=1e-3)


@pytest.mark.slow
def test_a_compiled_full_model_computes_the_same(micro, data):
    config = replace(CONFIG, epochs=2, dropout=0.0)
    plain, fast = (finish(trainer(micro, data, replace(config, compile=on), **DEPS)) for on in (False, True))
    assert fast.history[0]["train/loss_full"] == pytest.approx(plain.history[0]["train/loss_full"], abs=2e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.parametrize(
    ("change", "message"),
    [({"precision": "fp16"}, r"train\.precision is 'fp16'"), ({"device": "cuda"}, r"train\.device is 'cuda'")],
)
def test_what_needs_a_gpu_is_refused_without(micro, data, change, message):
    with pytest.raises(UserError, match=message):
        trainer(micro, data, replace(CONFIG, **change))


def test_a_gpu_without_bf16_is_refused(micro, data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    with pytest.raises(UserError, match=r"^train\.precision is 'bf16', which this GPU has not; set float32 or fp16$"):
        trainer(micro, data, TrainConfig(precision="bf16"))
