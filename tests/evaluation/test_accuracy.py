from functools import cache

import pytest
import torch

from dεps.data.batches import Normalise, plain_batches
from dεps.evaluation.accuracy import Recalibration, accuracies, measured, recalibrated, top1
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


def test_top_5_is_the_share_of_labels_among_the_likeliest_five(micro, data):
    net, seen = Supernet(micro, 4, 1), Recalibration.of(data.train, 50, 0)
    plain = recalibrated(net, micro.smallest(), data, seen)
    with torch.no_grad():
        ((images, labels),) = plain_batches(data.test, Normalise.of(data), batch_size=len(data.test))
        top2 = 100 * (plain(images).topk(2).indices == labels[:, None]).any(1).double().mean().item()
    ((found,),) = accuracies(net, [micro.smallest()], data, [data.test], seen, top=2)
    assert found == pytest.approx(top2)
    assert top1(net, micro.smallest(), data, data.test, seen) < found
    assert accuracies(net, [micro.smallest()], data, [data.test], seen, top=4) == [[100.0]]


def test_rows_have_a_top_5_where_it_says_something(micro, data, monkeypatch):
    archs, splits, seen = (
        [micro.smallest()],
        {"val": data.validation, "test": data.test},
        Recalibration(torch.arange(40)),
    )
    net = Supernet(micro, 4, 1)
    (row,) = measured(net, archs, data, splits, seen)
    assert [key for key in row if "top" in key] == ["val_top1", "test_top1"]
    counts = torch.tensor([0, 0, 1, 4, 5, 9], dtype=torch.int16)
    monkeypatch.setattr("dεps.evaluation.accuracy.ranks", lambda *_: [[counts, counts[:3]]])
    (row,) = measured(Supernet(micro, 10, 1), archs, data, splits, seen)
    tops = {key: value for key, value in row.items() if "top" in key}
    assert tops == {"val_top1": 33.3333, "test_top1": 66.6667, "val_top5": 66.6667, "test_top5": 100.0}
