"""RSS, random subnet sampling (arXiv 2204.09210).

Update: from scratch, one uniformly random subnet a step on labels, with kernel transformation. *RSS* trains as many
epochs as OFA in all, 590/180 of the full model's; *RSS-short* as many as the full model alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from dεps.core.schema import Share, checked
from dεps.methods.base import Look, Multiple, Phase, Restricted, Setup, Term
from dεps.methods.losses import CrossEntropy
from dεps.spaces.space import SearchSpace

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
class RandomSubnets:
    """One random subnet a step."""

    options: Options
    setup: Setup
    trunk_steps: int = 0

    @property
    def space(self) -> SearchSpace:
        """What the method is restricted to."""
        return self.setup.space

    @property
    def kernel_transform(self) -> bool:
        """As the options say."""
        return self.options.kernel_transform

    def phases(self) -> Sequence[Phase]:
        """One phase."""
        return [Phase("random subnets", 0, self.setup.steps(self.setup.epochs), self.setup.schedule())]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """One subnet, with dropout."""
        loss = CrossEntropy(self.options.label_smoothing)
        return [Term(self.setup.space.sample(rng), loss, dropout=self.setup.dropout)]


def build(options: Options, setup: Setup) -> RandomSubnets:
    """The method for `setup`, with its own number of epochs and peak rate."""
    epochs = max(1, round(setup.epochs * options.epochs_ratio))
    rate = setup.learning_rate * options.learning_rate_ratio
    return RandomSubnets(options, replace(setup, epochs=epochs, learning_rate=rate))
