import random
from dataclasses import replace

import pytest
import torch

from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.search.latency.layers import Layers
from tests.conftest import load_space
from tests.tools.spaces import family_spaces


@pytest.mark.parametrize("name", ["mbv3_micro", "mbv3_micro_64"])
def test_every_arch_is_made_of_the_kinds_that_were_met(name):
    net = Supernet(load_space(name), 4, channels=1)
    layers, rng = Layers(net), random.Random(0)
    layers.meet_all()
    known = dict(layers.built)
    # Per stage six kinds of a first block and six of the others; static block, stem, head and classifier.
    assert len(known) == 12 * len(net.space.stages) + 4
    for _ in range(50):
        assert set(layers.kinds(net.space.sample(rng))) <= known.keys()
    assert layers.built == known
    assert len({str(kind) for kind in known}) == len(known)
    assert max(len(str(kind)) for kind in known) <= 100  # as keys of a file


def test_a_family_with_widths():
    space = replace(load_space("resnet50d_224").restrict(depth=[0], expand=[0.2]), resolution=[64])
    layers = Layers(Supernet(space, 4))
    list(layers.kinds(space.smallest()))
    first = len(layers.built)
    list(layers.kinds(space.largest()))
    assert len(layers.built) == 2 * first  # another width is another kind, of pooling too, whose key does not say so
    assert sum("pool" in str(kind) for kind in layers.built) == 2


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
@torch.no_grad()
def test_the_kinds_of_an_arch_in_turn_are_the_arch(space):
    net, arch = Supernet(space, 4, channels=1), space.sample(random.Random(3))
    layers, x = Layers(net), torch.rand(2, 1, arch.resolution, arch.resolution)
    expected = extract(net, arch).eval()(x)
    for kind in layers.kinds(arch):
        assert tuple(x.shape[1:]) == kind.inputs
        built = layers.built[kind]
        x = built(x)
    assert x.shape == expected.shape


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_all_kinds_of_a_family_are_met(space):
    part = space.top(expand=1)  # one width, where widths are elastic
    layers = Layers(Supernet(part, 4, channels=1))
    layers.meet_all()
    known = set(layers.built)
    for seed in range(20):
        assert set(layers.kinds(part.sample(random.Random(seed)))) <= known
    blocks = sum(stage.depth[-1] for stage in part.stages)
    assert len(known) < (1 + blocks) * max(len(stage.kernel) for stage in part.stages) + 3  # places do not count
