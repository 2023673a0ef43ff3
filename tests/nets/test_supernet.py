from random import Random

import pytest
import torch

from dεps.nets.extract import extract
from dεps.nets.layers import ElasticDense, ElasticDepthwise
from dεps.nets.supernet import Supernet
from tests.conftest import NETWORKS
from tests.tools.spaces import DENSE_KERNELS, PLAIN, family_spaces

#: a side for test images: elasticity does not depend on it
IMAGE = 16


def randomised(space, kernel_transform=False, channels=3, dtype=torch.float32) -> Supernet:
    """A supernet in which nothing is at its initial value, so that a wrong slice shows."""
    net = Supernet(space, classes=10, channels=channels, kernel_transform=kernel_transform, seed=1).to(dtype)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if tensor.dim() == 1 or "transforms" in name:
                tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator) - 0.1)
        for _ in range(10):  # BN statistics that fit the full model
            net.train()(images(8, channels, seed=generator).to(dtype), space.largest())
    return net


def images(count, channels=3, seed=None) -> torch.Tensor:
    return torch.randn(count, channels, IMAGE, IMAGE, generator=seed or torch.Generator().manual_seed(0))


def archs_of(space) -> int:
    """Larger spaces of a family are made of the same layers."""
    return 50 if space.name in family_spaces() else 10


@pytest.fixture(params=[False, True], ids=["crop", "transform"])
def kernel_transform(request, space) -> bool:
    if request.param and all(len(stage.kernel) == 1 for stage in space.stages):
        pytest.skip("no elastic kernels")
    return request.param


@pytest.mark.parametrize("space", [*NETWORKS, PLAIN, DENSE_KERNELS], indirect=True)
def test_elastic_equals_extracted(space, kernel_transform):
    net = randomised(space, kernel_transform)
    for training in (False, True):
        net.train(training)
        batch = images(8)
        with torch.no_grad():
            for seed in range(archs_of(space)):
                arch = space.sample(Random(seed))
                torch.testing.assert_close(extract(net, arch)(batch), net(batch, arch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("space", [*NETWORKS, PLAIN, DENSE_KERNELS], indirect=True)
def test_gradients_equal_the_extracted_ones_and_are_zero_elsewhere(space, kernel_transform):
    net = randomised(space, kernel_transform).train()
    # A net whose weights are the other's gradients: extracted, it has the gradients of the slices.
    gradients, batch = Supernet(space, 10), images(8)
    for seed in range(archs_of(space)):
        arch = space.sample(Random(seed))
        plain = extract(net, arch)
        plain(batch).square().sum().backward()
        net.zero_grad()
        if seed % 2:  # as in training, where parts of parameters add to gradients that are there
            for parameter in net.parameters():
                parameter.grad = torch.zeros_like(parameter)
        net(batch, arch).square().sum().backward()
        expected = {key: parameter.grad for key, parameter in plain.named_parameters()}
        if kernel_transform:
            _check_transformed(net, plain, arch, batch)
            expected = {key: gradient for key, gradient in expected.items() if gradient.shape[-1] == 1}
        own = {key: parameter.grad for key, parameter in net.named_parameters()}
        for key, parameter in gradients.named_parameters():
            parameter.data = torch.zeros(()).expand_as(parameter) if own[key] is None else own[key]
        found = dict(extract(gradients, arch).named_parameters())
        for key, gradient in expected.items():
            _close(found[key], gradient)
        if not kernel_transform:
            # Nothing lies outside the slices when the slices hold everything.
            total = sum(gradient.abs().sum().double() for gradient in own.values() if gradient is not None)
            within = sum(gradient.abs().sum().double() for gradient in expected.values())
            torch.testing.assert_close(total, within, rtol=1e-6, atol=0.0)


def _close(found, expected) -> None:
    """Within 1e-5 of the largest gradient of the tensor: single ones may be sums that cancel."""
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1.0)


def _check_transformed(net, plain, arch, batch) -> None:
    """Weights of elastic kernels and transformations: the plain gradient, taken back through the transformation."""
    calls = _elastic_calls(net, arch, batch)
    dense = any(isinstance(layer, ElasticDense) for layer, _ in calls)
    convs = [m for m in plain.modules() if isinstance(m, torch.nn.Conv2d) and (m.groups > 1 or dense)]
    convs = [conv for conv in convs if conv.kernel_size[0] > 1][dense:]  # the stem's kernel is one and the same
    expected, found = {}, {parameter: parameter.grad for parameter in net.parameters()}
    net.zero_grad()  # or slices of parameters would be leaves of their own
    for conv, (layer, kernel) in zip(convs, calls, strict=True):
        sources = [layer.weight, *layer.transforms.values()]
        sliced = layer.sliced(*conv.weight.shape[:2], kernel)
        expected |= dict(
            zip(sources, torch.autograd.grad(sliced, sources, conv.weight.grad, allow_unused=True), strict=True)
        )
    for source, gradient in expected.items():
        if gradient is None:
            assert found[source] is None or not found[source].any()
        else:
            _close(found[source], gradient)
    for parameter, gradient in found.items():
        parameter.grad = gradient


@torch.no_grad()
def _elastic_calls(net, arch, batch) -> list[tuple[ElasticDense | ElasticDepthwise, int]]:
    """Each layer of elastic kernel that `arch` uses, with its kernel, in the order of computation."""
    calls = []

    def note(layer, inputs, output):
        calls.append((layer, inputs[-1]))

    hooks = [m.register_forward_hook(note) for m in net.modules() if isinstance(m, ElasticDense | ElasticDepthwise)]
    net(batch, arch)
    for hook in hooks:
        hook.remove()
    return calls


def test_a_dense_kernel_is_the_centre_of_the_next_larger_one_transformed():
    layer = ElasticDense(2, 3, [3, 5], 1, kernel_transform=True)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(150.0).view(3, 2, 5, 5))
        layer.transforms["to3"].copy_(torch.diag(torch.arange(9.0)))
        sliced = layer.sliced(2, 1, 3)
    assert sliced.shape == (2, 1, 3, 3)
    for output in range(2):
        centre = [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
        expected = [
            [(50 * output + value) * (3 * y + x) for x, value in enumerate(row)] for y, row in enumerate(centre)
        ]
        assert sliced[output, 0].tolist() == expected
    assert torch.equal(layer.sliced(3, 2, 5), layer.weight)


def test_kernel_transform_starts_as_the_centre_crop(micro):
    plain, transformed = (Supernet(micro, 10, 1, kernel_transform=on, seed=3).eval() for on in (False, True))
    batch = images(4, channels=1)
    with torch.no_grad():
        torch.testing.assert_close(plain(batch, micro.smallest()), transformed(batch, micro.smallest()))


def test_weights_depend_on_the_seed_only(micro):
    torch.manual_seed(1)
    first = Supernet(micro, 10, 1, seed=5).state_dict()
    torch.manual_seed(2)
    second = Supernet(micro, 10, 1, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_dropout_is_drawn_from_the_given_generator(micro):
    net = Supernet(micro, 10, 1).eval()
    batch = images(4, channels=1)

    def logits(seed: int) -> torch.Tensor:
        return net(batch, micro.smallest(), 0.5, torch.Generator().manual_seed(seed))

    with torch.no_grad():
        assert torch.equal(logits(1), logits(1))
        assert not torch.equal(logits(1), logits(2))
