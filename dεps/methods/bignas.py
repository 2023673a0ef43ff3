"""BigNAS (arXiv 2003.11142): the sandwich with in-place distillation from the first step.

Update: DεpS without its delay and ramp, and with channels as they are: full model on labels, smallest and random
subnets distilled from its logits of the same step, all at the full rate.

The defaults are the variant that the DεpS paper compares with, which has DεpS's cosine and initialisation. BigNAS' own
paper also calls necessary: γ = 0 at the start in the last BN of each residual block (`zero_gamma`), and a rate that
decays exponentially to a constant ending (`schedule`); params/method/bignas_paper.yaml has them. Its third rule,
regularisation of the full model only, both variants follow: dropout is the full model's alone, and weight decay is
added once a step to all weights, which are the full model's, not once for each subnet that has them (`regularise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from dεps.core.errors import UserError, check_numbers
from dεps.methods import deps
from dεps.methods.base import LARGEST, MOST_SUBNETS, Phase, Restricted, Setup, Term
from dεps.methods.full_model import full_model_term
from dεps.methods.losses import InPlaceDistillation
from dεps.methods.schedule import ExponentialSchedule
from dεps.spaces.space import SearchSpace

SCHEDULES = ("cosine", "exponential")
REGULARISED = ("full_model", "all")


@dataclass
class Options(Restricted):
    """Keys of a method that uses this strategy."""

    #: epochs, in units of the full model's (published on ImageNet-1k: 400 against DεpS's 270)
    epochs_ratio: float = 1.0
    #: random subnets a step, beside the full model and the smallest
    random_subnets: int = 2
    temperature: float = 1.0
    #: cosine, or exponential decay to a constant ending of 5 %
    schedule: str = "cosine"
    #: begin with each residual block as the identity
    zero_gamma: bool = False
    #: dropout in the full model alone, or in all subnets
    regularise: str = "full_model"

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if self.epochs_ratio <= 0:
            raise UserError(f"{where}.epochs_ratio is {self.epochs_ratio}; expected a positive number")
        check_numbers(self, where, epochs_ratio=(0, LARGEST), random_subnets=(0, MOST_SUBNETS))
        deps.check_temperature(self, where)
        for key, allowed in (("schedule", SCHEDULES), ("regularise", REGULARISED)):
            if getattr(self, key) not in allowed:
                raise UserError(f"{where}.{key} is {getattr(self, key)!r}; allowed: {', '.join(allowed)}")


@dataclass(frozen=True)
class Sandwich:
    """The sandwich for the whole horizon."""

    options: Options
    setup: Setup
    kernel_transform: bool = False
    trunk_steps: int = 0

    @property
    def space(self) -> SearchSpace:
        """What the method is restricted to."""
        return self.setup.space

    def phases(self) -> Sequence[Phase]:
        """One phase."""
        schedule = self.setup.schedule()
        if self.options.schedule == "exponential":
            schedule = ExponentialSchedule(schedule.base, schedule.steps, schedule.warmup)
        end = self.setup.steps(self.setup.epochs)
        return [Phase("shrinking", 0, end, schedule, zero_gamma=self.options.zero_gamma)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The full model, the smallest and random subnets."""
        space, options = self.space, self.options
        loss = InPlaceDistillation(options.temperature)
        dropout = self.setup.dropout if options.regularise == "all" else 0.0
        subnets = [space.smallest(), *(space.sample(rng) for _ in range(options.random_subnets))]
        return [full_model_term(self.setup), *(Term(arch, loss, dropout=dropout) for arch in subnets)]


def build(options: Options, setup: Setup) -> Sandwich:
    """The strategy for `setup`, with its own number of epochs."""
    return Sandwich(options, replace(setup, epochs=max(1, round(setup.epochs * options.epochs_ratio))))
