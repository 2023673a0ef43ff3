import random

import numpy as np
import pytest
import torch
from torch import nn

from dεps.core.errors import UserError
from dεps.deploy.onnx.check import LAYERS
from dεps.deploy.onnx.graph import INPUT, to_onnx
from dεps.deploy.onnx.session import open_session
from dεps.nets.batchnorm import BatchNorm
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from tests.tools.spaces import family_spaces


def perturbed(net: nn.Module) -> nn.Module:
    """With BN statistics and weights that fold to something."""
    generator = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, BatchNorm):
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.1, generator=generator)
    return net.eval()


@torch.no_grad()
def difference(net: nn.Module, shape: tuple[int, ...]) -> float:
    """Largest, relative to the largest logit, for batches of one and three."""
    model, worst = to_onnx(net, shape), 0.0
    assert {node.op_type for node in model.graph.node} <= set(LAYERS.split())  # or it could not be classified with
    session = open_session(model.SerializeToString())
    for batch in (1, 3):
        images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        own, other = net(images).numpy(), session.run(None, {INPUT: images.numpy()})[0]
        worst = max(worst, float(np.abs(own - other).max() / np.abs(own).max()))
    return worst


@pytest.mark.parametrize("space", [*family_spaces(), "mbv3_micro_64", "proxyless_224"], indirect=True)
def test_it_computes_what_pytorch_does(space):
    net = Supernet(space, 7, channels=3, seed=1)
    archs = [space.smallest(), *(space.sample(random.Random(seed)) for seed in range(2))]
    # A large arch has more of the same layers.
    for arch in [arch for arch in archs if arch == archs[0] or arch_cost(space, arch, 7).macs < 1e9]:
        assert difference(perturbed(extract(net, arch)), (3, arch.resolution, arch.resolution)) < 1e-5


@pytest.mark.parametrize("side", [6, 7])
def test_pooling_at_an_odd_border(side):
    for layer in (nn.AvgPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1)):
        assert difference(nn.Sequential(layer, nn.Flatten()), (5, side, side)) < 1e-6


def test_the_same_network_gives_the_same_bytes_and_no_paths(micro):
    net = Supernet(micro, 4, channels=1, seed=1)
    texts = {to_onnx(extract(net, net.space.largest()), (1, 28, 28)).SerializeToString() for _ in range(2)}
    assert len(texts) == 1
    assert b".py" not in texts.pop()


def test_a_network_without_layers():
    assert difference(nn.Identity(), (3,)) == 0


def test_a_layer_without_a_form_is_named():
    with pytest.raises(UserError, match="a layer GELU cannot be written as ONNX"):
        to_onnx(nn.Sequential(nn.GELU()), (3,))
    with pytest.raises(UserError, match="a convolution padded with 'same', zeros cannot be written as ONNX"):
        to_onnx(nn.Conv2d(3, 3, 3, padding="same"), (3, 8, 8))


class Doubled(nn.Module):
    """Writes itself."""

    def forward(self, x):
        return x + x

    def to_onnx(self, graph, x):
        return graph.node("Add", x, x)


class Tripled(Doubled):
    """Computes something else than it writes."""

    def forward(self, x):
        return 3 * x


def test_a_module_writes_itself():
    assert difference(nn.Sequential(Doubled(), nn.ReLU(), Doubled()), (3,)) == 0
    assert difference(Tripled(), (3,)) > 0.3  # which is why every file is compared
