"""RSS, random subnet sampling (arXiv 2204.09210).

Update: from scratch, one uniformly random subnet a step on labels, with kernel transformation. *RSS* trains as many
epochs as OFA in all, 590/180 of the full model's; *RSS-short* as many as the full model alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from dεps.core.schema import Share, checked
from dεps.methods.base import Look, Method, Multiple, Phase, Restricted, Setup, Term
from dεps.methods.losses import CrossEntropy

LOOK = Look("RSS", "#CC79A7", 60)


@checked
class Options(Restricted):
    """Keys of a method that uses this one."""

    #: epochs, in units of the full model's
    epochs_ratio: Multiple = 590 / 180
    #: peak learning rate, in units of the experiment's
    learning_rate_ratio: Multiple = 1.0
    #: share of a label's probability that is spread over all classes
    label_smoothing: Share = 0.0
    #: learn a linear map from each kernel to the next smaller one; otherwise the smaller is the larger's centre
    kernel_transform: bool = True


@dataclass(frozen=True)
class RandomSubnets(Method):
    """One random subnet a step."""

    options: Options

    def phases(self) -> Sequence[Phase]:
        return [Phase("random subnets", 0, self.setup.end, self.setup.schedule())]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """One subnet, with dropout."""
        loss = CrossEntropy(self.options.label_smoothing)
        return [Term(self.space.sample(rng), loss, dropout=self.setup.dropout)]


def build(options: Options, setup: Setup) -> RandomSubnets:
    """The method for `setup`, with its own number of epochs and peak rate."""
    rate = setup.learning_rate * options.learning_rate_ratio
    return RandomSubnets(options, replace(setup.longer(options.epochs_ratio), learning_rate=rate))
