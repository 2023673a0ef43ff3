"""OFA's public ResNet50-D, written here by names and functions of its own."""

import re
from random import Random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dεps.core.errors import UserError
from dεps.nets.public import import_checkpoint, to_public
from dεps.spaces.space import make_divisible
from tests.conftest import load_space

CLASSES, WIDTHS, DEPTHS = 6, (256, 512, 1024, 2048), (4, 4, 6, 4)


@pytest.fixture(scope="module")
def space():
    return load_space("resnet50d_224")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights under the newest public names, of a size that keeps features within bounds."""
    generator, state = torch.Generator().manual_seed(0), {}

    def conv_bn(name: str, *shape: int) -> None:
        fan_in = torch.Size(shape[1:]).numel()
        state[f"{name}.conv.conv.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.bn.bn.{kind}"] = torch.rand(shape[:1], generator=generator) + 0.5
        state[f"{name}.bn.bn.num_batches_tracked"] = torch.tensor(1234)

    conv_bn("input_stem.0", 32, 3, 3, 3)
    conv_bn("input_stem.1.conv", 32, 32, 3, 3)
    conv_bn("input_stem.2", 64, 32, 3, 3)
    inputs, index = 64, 0
    for width, depth in zip(WIDTHS, DEPTHS, strict=True):
        for position in range(depth):
            mid = make_divisible(round(width * 0.35))
            conv_bn(f"blocks.{index}.conv1", mid, inputs, 1, 1)
            conv_bn(f"blocks.{index}.conv2", mid, mid, 3, 3)
            conv_bn(f"blocks.{index}.conv3", width, mid, 1, 1)
            if position == 0:
                conv_bn(f"blocks.{index}.downsample", width, inputs, 1, 1)
            inputs, index = width, index + 1
    state["classifier.linear.linear.weight"] = torch.randn(CLASSES, inputs, generator=generator) / 50
    state["classifier.linear.linear.bias"] = torch.randn(CLASSES, generator=generator)
    return state


def reference_logits(state: dict[str, Tensor], arch, x: Tensor) -> Tensor:
    """What the public network computes in eval mode."""

    def conv_bn(y: Tensor, name: str, outputs: int, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.conv.weight"][:outputs, : y.shape[1]]
        y = F.conv2d(y, weight, None, stride, weight.shape[-1] // 2)
        kinds = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(state[f"{name}.bn.bn.{kind}"][:outputs] for kind in kinds), False, 0.0, 1e-5)

    middle, out = (make_divisible(64 * width) for width in arch.widths[:2])
    x = conv_bn(x, "input_stem.0", make_divisible(middle // 2), 2).relu()
    if arch.stages[0]:
        x = conv_bn(x, "input_stem.1.conv", x.shape[1]).relu() + x
    x = F.max_pool2d(conv_bn(x, "input_stem.2", out).relu(), 3, 2, 1)
    first = 0
    for stage, (blocks, depth) in enumerate(zip(arch.stages[1:], DEPTHS, strict=True)):
        width = make_divisible(WIDTHS[stage] * arch.widths[2 + stage])
        for position, block in enumerate(blocks):
            name, stride = f"blocks.{first + position}", 2 if stage and not position else 1
            mid = make_divisible(round(width * block.expand))
            y = conv_bn(conv_bn(x, f"{name}.conv1", mid).relu(), f"{name}.conv2", mid, stride).relu()
            if position == 0:
                x = conv_bn(F.avg_pool2d(x, stride, stride, 0, ceil_mode=True), f"{name}.downsample", width)
            x = (conv_bn(y, f"{name}.conv3", width) + x).relu()
        first += depth
    x = x.mean((2, 3))
    return F.linear(
        x, state["classifier.linear.linear.weight"][:, : x.shape[1]], state["classifier.linear.linear.bias"]
    )


def saved(state, path):
    torch.save({"state_dict": state}, path)
    return path


def test_an_imported_network_computes_what_the_public_one_does(space, state, tmp_path):
    imported = import_checkpoint(saved(state, tmp_path / "ofa_resnet50"), space)
    assert (imported.net.classes, imported.net.channels, imported.unused) == (CLASSES, 3, ())
    assert imported.counters == sum(key.endswith("num_batches_tracked") for key in state)
    net, exact = imported.net.eval().double(), {key: tensor.double() for key, tensor in state.items()}
    images = torch.randn(2, 3, 50, 50, generator=torch.Generator().manual_seed(3)).double()
    for seed in range(5):
        arch = space.sample(Random(seed))
        with torch.no_grad():
            expected = reference_logits(exact, arch, images)
            torch.testing.assert_close(net(images, arch), expected, atol=1e-9, rtol=1e-9)
    assert expected.std() > 0.1


def old(name: str) -> str:
    """As older public code names it: without the inner module of an elastic layer."""
    for inner in ("conv", "bn", "linear"):
        name = re.sub(rf"\.{inner}\.{inner}\.(\w+)$", rf".{inner}.\1", name)
    return name


def test_the_older_naming_gives_the_same_network_and_export_the_newest(space, state, tmp_path):
    older = {old(key): tensor for key, tensor in state.items()}
    assert {"input_stem.1.conv.conv.weight", "blocks.0.downsample.bn.running_var", "classifier.linear.bias"} <= {*older}
    net = import_checkpoint(saved(older, tmp_path / "older"), space).net
    exported = to_public(net)
    assert list(exported) == list(state)
    counter = "num_batches_tracked"
    assert all(torch.equal(exported[key], tensor) for key, tensor in state.items() if not key.endswith(counter))


def test_an_epsilon_of_batch_normalisation_is_no_choice_of_this_family(space, tmp_path):
    with pytest.raises(UserError, match=r"--bn-eps is 0\.001; a space of the family resnet has no such choice"):
        import_checkpoint(tmp_path / "none", space, 1e-3)
