"""One arch alone, from scratch: the reference that a subnet of the same shape is measured against.

Update: one step on that arch, cross-entropy with label smoothing, dropout; the full model's epochs and schedule. The
weights begin as the supernet's of the same seed do, so only the training differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dεps.core.schema import checked
from dεps.methods.base import Method, Phase, Setup, Term
from dεps.methods.losses import CrossEntropy
from dεps.spaces.space import Arch

LOOK = None


@checked
class Options:
    """Keys of a method that uses this one."""

    #: a name or a text that `SearchSpace.named` understands
    arch: str = "smallest"


@dataclass(frozen=True)
class Standalone(Method):
    """Trains one arch for the whole horizon; the supernet offers all archs all the same."""

    arch: Arch

    def phases(self) -> Sequence[Phase]:
        return [Phase("one arch", 0, self.setup.end, self.setup.schedule())]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        return [Term(self.arch, CrossEntropy(self.setup.label_smoothing), dropout=self.setup.dropout)]


def build(options: Options, setup: Setup) -> Standalone:
    """The method for `setup`. Raises `UserError` where the space has no such arch."""
    return Standalone(options, setup, setup.space.named(options.arch, "standalone.arch"))
