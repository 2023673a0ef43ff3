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
from dataclasses import dataclass
from random import Random
from typing import Literal

from dεps.core.schema import checked
from dεps.methods.base import Look, Method, Multiple, Phase, Restricted, Setup, SubnetCount, Temperature, Term
from dεps.methods.losses import Divergence, InPlaceDistillation
from dεps.methods.schedule import Schedule

LOOK = Look("BigNAS (cosine)", "#009E73", 40)


@checked
class Options(Restricted):
    """Keys of a method that uses this one."""

    #: epochs, in units of the full model's (published on ImageNet-1k: 400 against DεpS's 270)
    epochs_ratio: Multiple = 1.0
    random_subnets: SubnetCount = 2
    #: of in-place distillation
    temperature: Temperature = 1.0
    #: what in-place distillation lessens: forward (soft cross-entropy, the paper's), reverse, symmetric, js, alpha
    divergence: Divergence = "forward"
    #: which subnets have dropout
    regularise: Literal["full_model", "all"] = "full_model"


@dataclass(frozen=True)
class Sandwich(Method):
    """The sandwich for the whole horizon, under `schedule`.

    Perhaps begun with identities (`Phase.zero_gamma`), with clipped gradients (`Phase.gradient_clip`), or distilled
    otherwise than by the options' temperature and divergence.
    """

    options: Options
    schedule: Schedule
    zero_gamma: bool = False
    gradient_clip: float | None = None
    distillation: InPlaceDistillation | None = None

    def phases(self) -> Sequence[Phase]:
        more = {"zero_gamma": self.zero_gamma, "gradient_clip": self.gradient_clip}
        return [Phase("shrinking", 0, self.setup.end, self.schedule, **more)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The full model, the smallest and random subnets."""
        space, options = self.space, self.options
        loss = self.distillation or InPlaceDistillation(options.temperature, options.divergence)
        dropout = self.setup.dropout if options.regularise == "all" else 0.0
        subnets = [space.smallest(), *(space.sample(rng) for _ in range(options.random_subnets))]
        return [self.full_model_term(), *(Term(arch, loss, dropout=dropout) for arch in subnets)]


def build(options: Options, setup: Setup) -> Sandwich:
    """The method for `setup`, with its own number of epochs."""
    setup = setup.longer(options.epochs_ratio)
    return Sandwich(options, setup, setup.schedule())
