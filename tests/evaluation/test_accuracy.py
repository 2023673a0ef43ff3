from functools import cache

import pytest
import torch

from dεps.data.batches import Normalise, plain_batches
from dεps.evaluation.accuracy import Recalibration, accuracies, recalibrated, top1
from dεps.nets.batchnorm import recalibrate
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost, macs_counter


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


def test_macs_are_remembered(micro):
    macs_of = macs_counter(micro, 10, 1)
    assert macs_of(micro.largest()) == arch_cost(micro, micro.largest(), 10, 1).macs
    assert isinstance(macs_of, type(cache(lambda: 0)))
