"""BigNAS (arXiv 2003.11142): the sandwich with in-place distillation from the first step.

Update: DεpS without its delay and ramp, and with channels as they are: full model on labels, smallest and random
subnets distilled from its logits of the same step, all at the full rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dεps.errors import UserError, check_numbers
from dεps.strategies import deps
from dεps.strategies.base import LARGEST, MOST_SUBNETS, Setup


@dataclass
class Options:
    """Keys of a method that uses this strategy."""

    #: epochs, in units of the full model's (published on ImageNet-1k: 400 against DεpS's 270)
    epochs_ratio: float = 1.0
    #: random subnets a step, beside the full model and the smallest
    random_subnets: int = 2
    temperature: float = 1.0

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if self.epochs_ratio <= 0:
            raise UserError(f"{where}.epochs_ratio is {self.epochs_ratio}; expected a positive number")
        check_numbers(self, where, epochs_ratio=(0, LARGEST), random_subnets=(0, MOST_SUBNETS))
        deps.check_temperature(self, where)


def build(options: Options, setup: Setup) -> deps.DelayedShrinking:
    """The strategy for `setup`, with its own number of epochs."""
    sandwich = deps.Options(
        shrink_start=0.0,
        ramp_epochs=0.0,
        random_subnets=options.random_subnets,
        temperature=options.temperature,
        sort_channels=False,
    )
    epochs = max(1, round(setup.epochs * options.epochs_ratio))
    return deps.DelayedShrinking(sandwich, replace(setup, epochs=epochs))
