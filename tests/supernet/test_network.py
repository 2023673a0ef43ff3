from random import Random

import pytest
import torch

from dεps.supernet.extract import extract
from dεps.supernet.network import Supernet


def randomised(space, kernel_transform=False) -> Supernet:
    """A supernet in which nothing is at its initial value, so that a wrong slice shows."""
    net = Supernet(space, classes=10, channels=1, kernel_transform=kernel_transform, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if tensor.dim() == 1 or "transforms" in name:
                tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator) - 0.1)
        for _ in range(30):  # BN statistics that fit the full model
            net.train()(torch.randn(16, 1, 28, 28, generator=generator), space.largest())
    return net


@pytest.mark.parametrize("kernel_transform", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_elastic_equals_extracted(micro, kernel_transform, training):
    net = randomised(micro, kernel_transform).train(training)
    images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for seed in range(50):
            arch = micro.sample(Random(seed))
            plain = extract(net, arch)
            torch.testing.assert_close(net(images, arch), plain(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel_transform", [False, True])
def test_gradients_equal_the_extracted_ones_and_are_zero_elsewhere(micro, kernel_transform):
    net = randomised(micro, kernel_transform).train()
    images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    arch = micro.uniform(2, 5, 2)
    plain = extract(net, arch)
    plain(images).square().sum().backward()
    net(images, arch).square().sum().backward()
    block, own = plain.blocks[1].layers, net.blocks[1]  # first elastic block: expansion, BN, act, depthwise, …
    mid = block[0].weight.shape[0]
    torch.testing.assert_close(own.expand.weight.grad[:mid], block[0].weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.depthwise.weight.grad[:mid], block[3].weight.grad, rtol=1e-4, atol=1e-4)
    assert own.expand.weight.grad[mid:].abs().sum() == 0
    assert own.depthwise_bn.weight.grad[mid:].abs().sum() == 0
    assert net.blocks[3].expand.weight.grad is None  # the third block of the stage is inactive


def test_kernel_transform_starts_as_the_centre_crop(micro):
    plain, transformed = (Supernet(micro, 10, 1, kernel_transform=on, seed=3).eval() for on in (False, True))
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(plain(images, micro.smallest()), transformed(images, micro.smallest()))


def test_weights_depend_on_the_seed_only(micro):
    torch.manual_seed(1)
    first = Supernet(micro, 10, 1, seed=5).state_dict()
    torch.manual_seed(2)
    second = Supernet(micro, 10, 1, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dropout_is_drawn_from_the_given_generator(micro):
    net = Supernet(micro, 10, 1).eval()
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    def logits(seed: int) -> torch.Tensor:
        return net(images, micro.smallest(), 0.5, torch.Generator().manual_seed(seed))

    with torch.no_grad():
        assert torch.equal(logits(1), logits(1))
        assert not torch.equal(logits(1), logits(2))
