import math
from random import Random

import pytest
import torch
from torch import Generator, nn

from dεps.core.errors import DivergenceError
from dεps.evaluation.accuracy import Recalibration, accuracies, recalibrated
from dεps.evaluation.prefix_tree import PrefixTree, likeliest, rank_of
from dεps.nets.batchnorm import batch_norms, in_order, recalibrate
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from tests.tools.spaces import family_spaces

SIZE = 24


def some(space, count: int = 3):
    rng = Random(0)
    drawn = [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(count))]
    return [arch.at(SIZE) for arch in dict.fromkeys(drawn)]


def images(count: int = 3, batch: int = 8):
    generator = Generator().manual_seed(0)
    return [torch.randn(batch, 1, SIZE, SIZE, generator=generator) for _ in range(count)]


def logits(tree: PrefixTree, batch: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        tree.root.walk(batch, found := {})
    return [found[number] for number in range(tree.archs)]


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_archs_together_give_what_each_gives_alone(space):
    net, archs = Supernet(space, 4, 1, seed=1).double(), some(space)
    *seen, unseen = (batch.double() for batch in images())
    tree = PrefixTree(net, archs)
    tree.recalibrate(seen, 8)
    for arch, found in zip(archs, logits(tree, unseen), strict=True):
        plain = extract(net, arch).eval()
        recalibrate(plain.body, seen)
        with torch.no_grad():
            torch.testing.assert_close(found, plain(unseen), atol=1e-9, rtol=1e-7)
        alone = PrefixTree(net, [arch])
        alone.recalibrate(seen, 8)
        assert torch.equal(logits(alone, unseen)[0], found)


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_the_bits_do_not_depend_on_the_number_of_threads(space):
    before = torch.get_num_threads()
    net, archs, (*seen, unseen) = Supernet(space, 4, 1, seed=1), some(space, 2), images(5)
    found = {}
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            tree = PrefixTree(net, archs)
            tree.recalibrate(seen, 8)
            torch.set_num_threads(1)
            found[threads] = logits(tree, unseen)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(found[1], found[3], strict=True))


def test_what_archs_begin_with_alike_exists_once(micro):
    net = Supernet(micro, 4, 1)
    archs = [micro.largest(), *(micro.largest(), micro.smallest())[1:]]
    together = len(PrefixTree(net, archs).nodes)
    alone = [len(PrefixTree(net, [arch]).nodes) for arch in archs]
    assert together == sum(alone) - 3  # root, stem and static block


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_no_stretch_changes_its_input(space):
    net = Supernet(space, 4, 1)
    (x,) = images(1)
    for arch in (space.largest(), space.smallest()):
        y = x
        for stretch in net.body.stretches(arch):
            before = y.clone()
            with torch.no_grad():
                result = stretch.build().eval()(y)
            assert torch.equal(before, y)
            y = result


def test_recalibration_leaves_the_statistics_of_training_to_training(micro, data):
    plain = recalibrated(Supernet(micro, 4, 1), micro.smallest(), data, Recalibration(torch.arange(50)))
    assert all(not layer.unsettled for layer in batch_norms(plain))
    norm = next(layer for layer in plain.modules() if isinstance(layer, nn.BatchNorm2d))
    before = norm.running_mean.clone()
    plain.train()(images(1)[0])
    assert not torch.equal(before, norm.running_mean)


def test_accuracies_come_in_the_order_of_the_archs_of_all_resolutions(micro, data):
    net, indices = Supernet(micro, 4, 1, seed=2), Recalibration(torch.arange(50))
    archs = [micro.largest().at(20), micro.smallest(), micro.largest(), micro.smallest().at(20), micro.largest()]
    together = accuracies(net, archs, data, [data.validation, data.test], indices)
    assert together == [accuracies(net, [arch], data, [data.validation, data.test], indices)[0] for arch in archs]


def test_in_order_is_in_order_and_passes_errors_on():
    assert list(in_order(lambda n: n * n, range(50), 4)) == [n * n for n in range(50)]
    before = torch.get_num_threads()

    def fails(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        list(in_order(fails, range(100), 2))
    assert torch.get_num_threads() == before
    assert list(in_order(lambda _: torch.is_grad_enabled(), range(4), 2)) == [False] * 4
    assert list(in_order(lambda _: torch.get_num_threads(), range(4), 2)) == [1] * 4


def test_logits_that_are_not_finite_are_no_accuracy(micro):
    net = Supernet(micro, 4, 1, seed=1)
    with torch.no_grad():
        net.classifier.bias[1] = 3e38
        net.classifier.weight[1] = 3e38
    tree, batches = PrefixTree(net, [micro.smallest().at(SIZE), micro.largest().at(SIZE)]), images(2)
    tree.recalibrate(batches, 8)
    with pytest.raises(DivergenceError, match="images are not finite, so no accuracy can be measured"):
        tree.observe([(batch, torch.ones(8, dtype=torch.int64)) for batch in batches], 8, rank_of)


def test_ranks_by_hand():
    logits = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [0.0, 5.0, 5.0]])
    labels = torch.tensor([0, 1, 2, 2, 2])
    assert rank_of(logits, labels).tolist() == [0, 2, 1, 2, 1]
    assert ((rank_of(logits, labels) == 0) == (logits.argmax(1) == labels)).all()


def test_the_likeliest_class_with_its_probability():
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]], dtype=torch.float64)
    assert likeliest(logits, torch.tensor([1, 1])).tolist() == [[0.0, 1.0], [0.5, pytest.approx(0.75)]]
