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
from tests.conftest import load_space


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


@pytest.mark.parametrize("name", ["mbv3_micro", "mbv3_micro_64", "proxyless_224", "resnet50d_224"])
def test_it_computes_what_pytorch_does(name):
    space = load_space(name)
    net = Supernet(space, 7, channels=3, seed=1)
    archs = [space.smallest()] if name == "resnet50d_224" else [space.smallest(), space.sample(random.Random(1))]
    for arch in archs:
        assert difference(perturbed(extract(net, arch)), (3, arch.resolution, arch.resolution)) < 1e-5


@pytest.mark.parametrize("side", [6, 7])
def test_pooling_at_an_odd_border(side):
    for layer in (nn.AvgPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1)):
        assert difference(nn.Sequential(layer, nn.Flatten()), (5, side, side)) < 1e-6


def test_the_same_network_gives_the_same_bytes_and_no_paths(net):
    texts = {to_onnx(extract(net, net.space.largest()), (1, 28, 28)).SerializeToString() for _ in range(2)}
    assert len(texts) == 1
    assert b".py" not in texts.pop()


def test_a_network_without_layers():
    assert difference(nn.Identity(), (3,)) == 0


def test_a_layer_without_a_form_is_named():
    with pytest.raises(UserError, match="a layer GELU cannot be written as ONNX"):
        to_onnx(nn.Sequential(nn.GELU()), (3,))
