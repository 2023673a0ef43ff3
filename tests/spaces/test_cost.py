from random import Random

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dεps.nets.extract import extract, stretches
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from tests.conftest import NETWORKS, load_space
from tests.tools.spaces import DENSE_KERNELS, PLAIN


@pytest.mark.parametrize(
    ("space", "classes", "arch", "mega_macs"),
    [
        ("mbv3_224", 1000, ([2], [3], [3]), 121.279),
        ("mbv3_224", 1000, ([2], [7], [3]), 151.290),
        ("mbv3_224", 1000, ([4], [7], [6]), 566.171),
        ("mbv3_32", 100, ([2], [3], [3]), 35.409),
        ("mbv3_32", 100, ([2], [7], [3]), 45.209),
        ("mbv3_32", 100, ([4], [7], [6]), 179.822),
    ],
)
def test_published_macs(space, classes, arch, mega_macs):
    space = load_space(space)
    assert arch_cost(space, space.restrict(*arch).largest(), classes).macs / 1e6 == pytest.approx(mega_macs, abs=5e-4)


@pytest.mark.parametrize(("space", "classes", "params"), [("mbv3_224", 1000, 7_664_760), ("mbv3_32", 100, 6_511_860)])
def test_published_parameters(space, classes, params):
    space = load_space(space)
    assert arch_cost(space, space.largest(), classes).params == params


def test_published_parameters_with_kernel_transformation():
    net = Supernet(load_space("mbv3_224"), classes=1000, kernel_transform=True)
    assert sum(parameter.numel() for parameter in net.parameters()) == 7_678_880


def counted_macs(net: nn.Module, images: torch.Tensor) -> int:
    """Multiply-accumulates of one forward pass, counted by hooks on the layers that have any."""
    total = 0

    def count(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()  # each output is a sum over one filter

    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net(images)
    return total


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("space", "archs"),
    [
        *((name, 200 if "micro" in name else 40) for name in NETWORKS),
        (PLAIN, 200),
        (DENSE_KERNELS, 100),
        ("mbv3_224_elastic", 20),
    ],
    indirect=["space"],
)
def test_closed_form_equals_a_count_on_the_built_network(space, archs):
    net = Supernet(space, classes=10).eval().to("meta")
    known: dict[tuple, tuple[int, int, torch.Size]] = {}
    for seed in range(archs):
        arch = space.sample(Random(seed))
        images = torch.zeros(1, 3, arch.resolution, arch.resolution, device="meta")
        shape, macs, params = images.shape, 0, 0
        for stretch in stretches(net, arch):
            key = (stretch.key, shape)  # equal layers on equal inputs are counted once
            if key not in known:
                x = torch.zeros(shape, device="meta")
                with torch.no_grad():
                    layers = stretch.build()
                    known[key] = counted_macs(layers, x), parameters(layers), layers(x).shape
            macs, params, shape = macs + known[key][0], params + known[key][1], known[key][2]
        assert arch_cost(space, arch, 10) == (macs, params)
        if seed < 5:
            plain = extract(net, arch)
            assert (macs, params) == (counted_macs(plain, images), parameters(plain))


@pytest.mark.parametrize("space", [*NETWORKS, PLAIN, DENSE_KERNELS], indirect=True)
def test_the_elastic_network_does_no_more_work_than_that(space):
    net = Supernet(space, classes=10).eval().to("meta")
    for seed in range(10):
        arch = space.sample(Random(seed))
        images = torch.zeros(1, 3, arch.resolution, arch.resolution, device="meta")
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(images, arch)
        assert arch_cost(space, arch, 10).macs == counter.get_total_flops() // 2


def test_micro_spans_a_factor_of_five(micro):
    macs = [arch_cost(micro, arch, 10, 1).macs for arch in (micro.smallest(), micro.largest())]
    assert macs[1] >= 5 * macs[0]
