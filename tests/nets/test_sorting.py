import itertools

import pytest
import torch

from dεps.nets.mobilenet.geometry import middle_width
from dεps.nets.sorting import sort_channels, sortable_axes
from dεps.nets.supernet import Supernet
from tests.conftest import load_space
from tests.nets.test_supernet import IMAGE, randomised
from tests.tools.spaces import family_spaces


@pytest.mark.parametrize("space", [*family_spaces(), "mbv3_224"], indirect=True)
@pytest.mark.parametrize("scope", ["groups", "all"])
def test_the_full_model_computes_the_same(space, scope):
    net = randomised(space, dtype=torch.float64).eval()
    images = torch.randn(8, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        before = net(images, space.largest())
        axes = list(sortable_axes(net))
        weights = [axis.reader.clone() for axis in axes]
        sort_channels(net, scope=scope)
        assert not any(torch.equal(old, axis.reader) for old, axis in zip(weights, axes, strict=True))
        assert (net(images, space.largest()) - before).abs().max() < 1e-5


@pytest.mark.parametrize("scope", ["groups", "all"])
def test_channels_are_in_descending_order_within_groups(micro, scope):
    net = randomised(micro)
    sort_channels(net, scope=scope)
    for block in net.body.blocks[1:]:
        importance = block.project.weight.detach().abs().sum((0, 2, 3))
        edges = [0, *(middle_width(block.largest.inputs, e) for e in block.expands[1:])]
        if scope == "all":
            edges = [0, edges[-1]]
        for start, end in itertools.pairwise(edges):
            assert (importance[start:end].diff() <= 0).all()


@pytest.mark.parametrize("scope", ["groups", "all"])
def test_hidden_units_of_squeeze_and_excite_are_sorted_over_their_whole_width(scope):
    # As OFA's re_organize_middle_weights: channels first, then one sort of the hidden units, whatever the groups.
    net = randomised(load_space("mbv3_224"))
    block = next(block for block in net.body.blocks[1:] if block.largest.se)
    before = {name: tensor.detach().clone() for name, tensor in block.se.named_parameters()}
    channels = block.project.weight.detach().clone()
    sort_channels(net, scope=scope)
    moved = [
        int((channels == block.project.weight[:, n : n + 1]).flatten(2).all(2).all(0).nonzero()[0]) for n in range(4)
    ]
    order = before["expand_weight"].abs().sum((0, 2, 3)).argsort(descending=True)
    assert torch.equal(block.se.reduce_bias, before["reduce_bias"][order])
    assert torch.equal(block.se.expand_weight[:4], before["expand_weight"][moved][:, order])
    assert torch.equal(block.se.reduce_weight[:, :4], before["reduce_weight"][order][:, moved])


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_momentum_follows_its_weights(space):
    net = randomised(space)
    # Momentum equal to the weights must still equal them after sorting.
    buffers = {parameter: parameter.detach().clone() for parameter in net.parameters()}
    sort_channels(net, buffers.get)
    assert all(torch.equal(parameter, buffer) for parameter, buffer in buffers.items())


def test_sorting_twice_changes_nothing(micro):
    net = randomised(micro)
    sort_channels(net)
    once = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    sort_channels(net)
    assert all(torch.equal(once[name], tensor) for name, tensor in net.state_dict().items())


def test_important_channels_survive_shrinking(micro):
    net = Supernet(micro, 10, 1)
    block = net.body.blocks[1]
    with torch.no_grad():
        block.project.weight[:, 20] += 100.0  # beyond the smallest width of 16, inside the next group's 24
    sort_channels(net)
    assert block.project.weight[:, 0].abs().sum() > 100
