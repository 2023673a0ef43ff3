"""Trains one subnet on from the supernet's weights, with the loop that all methods share, and measures what it gains.

supernet's weights ──► subnet, BN recalibrated ─────────────────────────────► before  ─┐
        │                                                                              ├─ on the same images
        └──► steps on that subnet alone ──► the same subnet, BN recalibrated ─► after ─┘
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from dεps.core.files import read_numbers
from dεps.data.splits import PreparedData, Split
from dεps.evaluation.accuracy import Recalibration, correct
from dεps.evaluation.noise import difference
from dεps.methods import finetune
from dεps.methods.finetune import FineTuneConfig
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.workspace.outputs import SUMMARY, TRAIN_COST


def finetuning(
    net: Supernet, arch: Arch, data: PreparedData, train: TrainConfig, config: FineTuneConfig, seed: int, spent: int
) -> Trainer:
    """The training of `arch` from the weights of `net`, which have cost `spent` MACs; at its beginning.

    What it costs is added to that. The rest of the supernet's weights stay or decay, so only this arch is to be cut
    from the result. Raises `UserError` where the supernet does not offer the arch.
    """
    setup = replace(train.setup(net.space, data), space=net.choices)
    options = finetune.Options(**asdict(config), arch=str(arch), kernel_transform=net.kernel_transform)
    plain = replace(train, init=None, init_sha256=None)  # what the supernet began with is in its weights
    trainer = Trainer(net.space, data, plain, finetune.build(options, setup), seed, {"subnet": arch})
    trainer.begin_at(net.state_dict(), spent)
    return trainer


def spent_on(folder: Path) -> int:
    """MACs that a training, with its results in `folder`, has cost, to a million."""
    return round(1e12 * read_numbers(folder / SUMMARY, TRAIN_COST.key)[TRAIN_COST.key])


class Gain(NamedTuple):
    """Top-1 in percent before and after; their paired difference in points, and its standard error."""

    before: float
    after: float
    points: float
    error: float
    is_noise: bool


def gains(
    before: Supernet, after: Supernet, arch: Arch, data: PreparedData, splits: list[Split], images: Recalibration
) -> list[Gain]:
    """What fine-tuning gains on each split, BN recalibrated alike."""
    (old,), (new,) = (correct(net, [arch], data, splits, images) for net in (before, after))
    found = []
    for one, two in zip(old, new, strict=True):
        paired = difference(two.numpy(), one.numpy())
        was, now = (round(100.0 * float(right.numpy().mean()), 4) for right in (one, two))
        found.append(Gain(was, now, *paired, paired.is_noise))
    return found
