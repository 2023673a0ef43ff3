"""The full model alone: the trunk that DεpS, OFA and CompOFA branch from.

Update: one step on the largest arch, cross-entropy with label smoothing, dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dεps.core.schema import checked
from dεps.methods.base import Look, Phase, Setup, Term, full_model_term
from dεps.spaces.space import SearchSpace

LOOK = Look("full model", "#3e4753", 80)


@checked
class Options:
    """No keys of its own."""


@dataclass(frozen=True)
class FullModel:
    """Trains the largest arch for the whole horizon."""

    setup: Setup
    kernel_transform: bool = False

    @property
    def space(self) -> SearchSpace:
        """All archs, though only the largest is trained."""
        return self.setup.space

    @property
    def trunk_steps(self) -> int:
        """Every step."""
        return self.setup.steps(self.setup.epochs)

    def phases(self) -> Sequence[Phase]:
        """One phase."""
        return [Phase("full model", 0, self.trunk_steps, self.setup.schedule(), alone=True)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The full model."""
        return [full_model_term(self.setup)]


def build(options: Options, setup: Setup) -> FullModel:
    """The method for `setup`."""
    return FullModel(setup)
