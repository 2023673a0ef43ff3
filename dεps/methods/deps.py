"""DεpS, delayed ε-shrinking (arXiv 2407.06167).

Update: until shrink start the full model alone (FM-Warmup). Then the sandwich: full model on labels (weight 1), and
the smallest (`SearchSpace.smallest()`) and random subnets distilled from its logits of the same step (weight β(t), the
ε ramp). Channels are sorted once, at shrink start. One cosine learning rate spans both phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Annotated

from pydantic import Field, model_validator

from dεps.core.schema import Probability, checked
from dεps.methods.base import LARGEST, Look, Method, Phase, Restricted, SubnetCount, Temperature, Term
from dεps.methods.losses import CrossEntropy, Divergence, InPlaceDistillation
from dεps.methods.schedule import EpsilonRamp, Shape

LOOK = Look("DεpS", "#D55E00", 10)


@checked
class Options(Restricted):
    """Keys of a method that uses this one."""

    #: share of all epochs in which the full model trains alone
    shrink_start: Probability = 0.5
    #: epochs over which the subnets' effective learning rate climbs from ε to the full rate; 0: no ramp
    ramp_epochs: Annotated[float, Field(ge=0, le=10 * LARGEST)] = 5.0
    #: how it climbs: linear (the paper's), cosine, exponential, step (ε until the ramp's end), constant (ε for good)
    ramp_shape: Shape = "linear"
    #: ε, as a share of the full rate
    epsilon: Probability = 0.0
    random_subnets: SubnetCount = 2
    #: teach subnets by the full model's logits (in-place distillation) instead of labels
    distill: bool = True
    #: of in-place distillation
    temperature: Temperature = 1.0
    #: what in-place distillation lessens: forward (soft cross-entropy, the paper's), reverse, symmetric, js, alpha
    divergence: Divergence = "forward"
    #: sort channels by importance at shrink start
    sort_channels: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if self.ramp_shape == "constant" and self.epsilon == 0.0:
            raise ValueError("epsilon is 0 with ramp_shape constant, which trains no subnet; expected above 0")
        return self


@dataclass(frozen=True)
class DelayedShrinking(Method):
    """FM-Warmup, then the sandwich with the ε ramp."""

    options: Options

    @property
    def trunk_steps(self) -> int:
        """Steps before shrink start, which falls on the nearest epoch."""
        return self.setup.steps(round(self.options.shrink_start * self.setup.epochs))

    @cached_property
    def ramp(self) -> EpsilonRamp:
        """β over the steps."""
        options, steps = self.options, self.setup.steps(self.options.ramp_epochs)
        return EpsilonRamp(self.setup.schedule(), self.trunk_steps, steps, options.epsilon, options.ramp_shape)

    def phases(self) -> Sequence[Phase]:
        """FM-Warmup and shrinking, under one learning-rate schedule."""
        schedule, start, end = self.setup.schedule(), self.trunk_steps, self.setup.end
        sort = "groups" if self.options.sort_channels else None
        phases = [Phase("full model", 0, start, schedule, alone=True), Phase("shrinking", start, end, schedule, sort)]
        return [phase for phase in phases if phase.end > phase.start]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The full model; from shrink start on also the smallest and random subnets."""
        full = self.full_model_term()
        if step < self.trunk_steps:
            return [full]
        space, options = self.space, self.options
        distillation = InPlaceDistillation(options.temperature, options.divergence)
        loss = distillation if options.distill else CrossEntropy(self.setup.label_smoothing)
        subnets = [space.smallest(), *(space.sample(rng) for _ in range(options.random_subnets))]
        beta = self.ramp(step)
        return [full, *(Term(arch, loss, beta) for arch in subnets)]


build = DelayedShrinking
