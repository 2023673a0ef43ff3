"""BigNAS (arXiv 2003.11142) as the DεpS paper compares with it: the sandwich from the first step, under a cosine.

Update: DεpS without its delay and ramp, and with channels as they are: full model on labels, smallest and random
subnets distilled from its logits of the same step, all at the full rate.

DεpS's cosine and initialisation make the two comparable. What BigNAS' own paper calls necessary beside them is in
`bignas_paper`. One rule of that paper both follow: only the full model is regularised. Dropout is the full model's
alone, and weight decay is added once a step to all weights, which are the full model's, not once for each subnet that
has them (`regularise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from dεps.core.errors import UserError, check_numbers
from dεps.methods.base import (
    LARGEST,
    MOST_SUBNETS,
    Look,
    Phase,
    Restricted,
    Setup,
    Term,
    check_temperature,
    full_model_term,
)
from dεps.methods.losses import InPlaceDistillation
from dεps.methods.schedule import Schedule
from dεps.spaces.space import SearchSpace

LOOK = Look("BigNAS (cosine)", "#009E73", 40)
REGULARISED = ("full_model", "all")


@dataclass
class Options(Restricted):
    """Keys of a method that uses this one."""

    #: epochs, in units of the full model's (published on ImageNet-1k: 400 against DεpS's 270)
    epochs_ratio: float = 1.0
    #: random subnets a step, beside the full model and the smallest
    random_subnets: int = 2
    temperature: float = 1.0
    #: dropout in the full model alone, or in all subnets
    regularise: str = "full_model"

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if self.epochs_ratio <= 0:
            raise UserError(f"{where}.epochs_ratio is {self.epochs_ratio}; expected a positive number")
        check_numbers(self, where, epochs_ratio=(0, LARGEST), random_subnets=(0, MOST_SUBNETS))
        check_temperature(self, where)
        if self.regularise not in REGULARISED:
            raise UserError(f"{where}.regularise is {self.regularise!r}; allowed: {', '.join(REGULARISED)}")


@dataclass(frozen=True)
class Sandwich:
    """The sandwich for the whole horizon, under `schedule`, perhaps begun with identities (`Phase.zero_gamma`)."""

    options: Options
    setup: Setup
    schedule: Schedule
    zero_gamma: bool = False
    kernel_transform: bool = False
    trunk_steps: int = 0

    @property
    def space(self) -> SearchSpace:
        """What the method is restricted to."""
        return self.setup.space

    def phases(self) -> Sequence[Phase]:
        """One phase."""
        end = self.setup.steps(self.setup.epochs)
        return [Phase("shrinking", 0, end, self.schedule, zero_gamma=self.zero_gamma)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The full model, the smallest and random subnets."""
        space, options = self.space, self.options
        loss = InPlaceDistillation(options.temperature)
        dropout = self.setup.dropout if options.regularise == "all" else 0.0
        subnets = [space.smallest(), *(space.sample(rng) for _ in range(options.random_subnets))]
        return [full_model_term(self.setup), *(Term(arch, loss, dropout=dropout) for arch in subnets)]


def build(options: Options, setup: Setup) -> Sandwich:
    """The method for `setup`, with its own number of epochs."""
    setup = with_epochs(options, setup)
    return Sandwich(options, setup, setup.schedule())


def with_epochs(options: Options, setup: Setup) -> Setup:
    """The setup with the number of epochs that the options ask for, at least one."""
    return replace(setup, epochs=max(1, round(setup.epochs * options.epochs_ratio)))
