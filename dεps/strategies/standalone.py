"""One arch alone, from scratch: the reference that a subnet of the same shape is measured against.

Update: one step on that arch, cross-entropy with label smoothing, dropout; the full model's epochs and schedule. The
weights begin as the supernet's of the same seed do, so only the training differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from dεps.errors import UserError
from dεps.losses import CrossEntropy
from dεps.search_space import Arch, SearchSpace
from dεps.strategies.base import Phase, Setup, Term


@dataclass
class Options:
    """Keys of a method that uses this strategy."""

    #: what `named` understands
    arch: str = "smallest"


def _names(space: SearchSpace) -> dict[str, Arch]:
    points = space.pareto_archs()
    return {"smallest": next(iter(points.values())), "largest": space.largest(), **points}


def named(space: SearchSpace, text: str, where: str) -> Arch:
    """The arch of `space` that `text` means: a name, or an arch as `str(arch)` writes it.

    Names are those of the Pareto points, such as D2E3K7, and `smallest` and `largest` for the first and the last of
    them: the archs under these headings in the results table. Raises `UserError` naming the key `where`.
    """
    names = _names(space)
    if text in names:
        return names[text]
    try:
        arch = Arch.parse(text)
    except UserError:
        arch = None
    if arch is None or arch not in space:
        known = ", ".join(names)
        raise UserError(f"{where} is {text!r}; allowed: {known}, or an arch of the space such as {space.smallest()}")
    return arch


def name_of(space: SearchSpace, arch: Arch) -> str:
    """The first name that `named` knows for `arch`, or else `str(arch)`."""
    return next((name for name, other in _names(space).items() if other == arch), str(arch))


@dataclass(frozen=True)
class Standalone:
    """Trains one arch for the whole horizon."""

    arch: Arch
    setup: Setup
    kernel_transform: bool = False
    trunk_steps: int = 0

    @property
    def space(self) -> SearchSpace:
        """All archs, though only one is trained."""
        return self.setup.space

    def phases(self) -> Sequence[Phase]:
        """One phase."""
        return [Phase("one arch", 0, self.setup.steps(self.setup.epochs), self.setup.schedule())]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The arch."""
        return [Term(self.arch, CrossEntropy(self.setup.label_smoothing), dropout=self.setup.dropout)]


def build(options: Options, setup: Setup) -> Standalone:
    """The strategy for `setup`. Raises `UserError` where the space has no such arch."""
    return Standalone(named(setup.space, options.arch, "standalone.arch"), setup)
