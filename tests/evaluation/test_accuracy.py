from functools import cache
from random import Random

import pytest
import torch

from dεps.data.batches import Normalise, plain_batches
from dεps.evaluation.accuracy import (
    PopulationConfig,
    Recalibration,
    accuracies,
    recalibrated,
    sample_population,
    top1,
)
from dεps.nets.batchnorm import recalibrate
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost, macs_counter
from tests.conftest import load_space


def test_evaluation_leaves_the_supernet_as_it_was(micro, data):
    net = Supernet(micro, 4, 1)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    top1(net, micro.largest(), data, data.validation, Recalibration.of(data.train, 50, 0))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_an_arch_is_evaluated_at_its_own_resolution(micro, data):
    net, seen = Supernet(micro, 4, 1), Recalibration.of(data.train, 50, 0)
    arch, normalise = micro.largest().at(20), Normalise.of(data)
    plain = extract(net, arch).eval()
    batches = [x for x, _ in plain_batches(data.train, normalise, batch_size=200, indices=seen.indices, size=20)]
    recalibrate(plain.body, batches)
    images, labels = next(plain_batches(data.validation, normalise, batch_size=250, size=20))
    assert images.shape[2:] == (20, 20)
    expected = 100.0 * int((plain(images).argmax(1) == labels).sum()) / len(labels)
    assert top1(net, arch, data, data.validation, seen) == expected


def test_accuracy_is_the_share_of_correct_predictions(micro, data):
    net, seen = Supernet(micro, 4, 1), Recalibration.of(data.train, 50, 0)
    plain = recalibrated(net, micro.smallest(), data, seen)
    with torch.no_grad():
        ((images, labels),) = plain_batches(data.test, Normalise.of(data), batch_size=len(data.test))
        expected = 100 * (plain(images).argmax(1) == labels).float().mean().item()
    ((validation, test),) = accuracies(net, [micro.smallest()], data, [data.validation, data.test], seen)
    assert test == pytest.approx(expected)
    assert validation == pytest.approx(top1(net, micro.smallest(), data, data.validation, seen))


def test_population_fills_its_buckets(micro):
    macs_of = macs_counter(micro, 10, 1)
    config = PopulationConfig(buckets=4, per_bucket=5)
    population = sample_population(micro, macs_of, config, Random(0))
    low, high = macs_of(micro.smallest()), macs_of(micro.largest())
    assert len({arch for _, arch in population}) == 20
    for bucket, arch in population:
        assert bucket == min(int((macs_of(arch) - low) * 4 / (high - low)), 3)
    expands = {block.expand for bucket, arch in population if bucket == 0 for stage in arch.stages for block in stage}
    assert expands == {2}
    assert population == sample_population(micro, macs_of, config, Random(0))


def test_the_lowest_bucket_of_a_part_has_its_smallest_ratio(micro):
    macs_of, part = macs_counter(micro, 10, 1), micro.restrict(expand=[3, 4])
    population = sample_population(micro, macs_of, PopulationConfig(buckets=4, per_bucket=10), Random(0), part)
    ratios = [{block.expand for stage in arch.stages for block in stage} for bucket, arch in population if bucket == 0]
    assert set().union(*ratios) == {3}
    assert len(ratios) == 10


@pytest.mark.parametrize("name", ["mbv3_32", "mbv3_224_elastic", "proxyless_224"])
def test_the_papers_spaces_fill_all_buckets(name):
    space = load_space(name)
    macs_of = macs_counter(space, 100)
    population = sample_population(space, macs_of, PopulationConfig(buckets=6, per_bucket=20), Random(0))
    assert [number for number, _ in population] == [number for number in range(6) for _ in range(20)]
    assert len({arch for _, arch in population}) == 120
    low, high = macs_of(space.smallest()), macs_of(space.largest())
    for bucket, arch in population:
        assert bucket == min(int((macs_of(arch) - low) * 6 / (high - low)), 5)
        assert arch in space


def test_macs_are_remembered(micro):
    macs_of = macs_counter(micro, 10, 1)
    assert macs_of(micro.largest()) == arch_cost(micro, micro.largest(), 10, 1).macs
    assert isinstance(macs_of, type(cache(lambda: 0)))
