"""The full model alone: the trunk that DεpS, OFA and CompOFA branch from.

Update: one step on the largest arch, cross-entropy with label smoothing, dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dεps.core.schema import checked
from dεps.methods.base import Look, Method, Phase, Term

LOOK = Look("full model", "#3e4753", 80)


@checked
class Options:
    """No keys of its own."""


@dataclass(frozen=True)
class FullModel(Method):
    """Trains the largest arch for the whole horizon; the supernet offers all archs all the same."""

    @property
    def trunk_steps(self) -> int:
        """Every step."""
        return self.setup.end

    def phases(self) -> Sequence[Phase]:
        return [Phase("full model", 0, self.setup.end, self.setup.schedule(), alone=True)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        return [self.full_model_term()]


build = FullModel
