import math

import pytest
import torch

from dεps.methods.base import Term
from dεps.methods.losses import CrossEntropy
from dεps.training.sums import Sums

CPU = torch.device("cpu")


def term(space, full: bool, weight: float = 1.0) -> Term:
    return Term(space.largest(), CrossEntropy(), weight, full=full)


def test_means_are_of_the_full_model_and_of_subnets_apart(micro):
    sums = Sums()
    assert (bool(sums), sums.means(), sums.state()) == (False, {}, {})
    for loss in (2.0, 4.0):
        sums.add(term(micro, full=True), torch.tensor(loss))
    assert sums.means() == {"train/loss_full": 3.0}
    for loss, weight in ((1.0, 0.25), (1.5, 0.5), (5.0, 0.75)):
        sums.add(term(micro, full=False, weight=weight), torch.tensor(loss))
    assert sums.means() == {"train/loss_full": 3.0, "train/loss_subnets": 2.5, "train/subnet_weight": 0.75}
    again = Sums.of({**sums.state(), "net.weight": torch.ones(1)}, CPU)
    assert again.means() == sums.means()
    again.add(term(micro, full=True), torch.tensor(6.0))
    assert again.means()["train/loss_full"] == 4.0


@pytest.mark.parametrize("odd", [math.inf, math.nan])
def test_losses_that_are_not_finite_are_known_and_left_out_of_means(micro, odd):
    sums = Sums()
    for loss in (1.0, odd, 2.0):
        sums.add(term(micro, full=True), torch.tensor(loss))
    assert not sums.finite()
    assert sums.means() == {"train/loss_full": 1.5}
    assert Sums.of(sums.state(), CPU).finite()
