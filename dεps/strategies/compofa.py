"""CompOFA (arXiv 2104.12642): OFA on a space in which depth and expand ratio go together.

Update: as OFA's, in two phases of 25 and 125 epochs (against 180 of the teacher), which both offer all coupled choices.
Kernels are fixed per stage and not transformed. Both phases sort channels over the whole width, as the public code
does. A stage with a single depth, such as Proxyless's last, has all its expand ratios, one for all of its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dεps.errors import UserError
from dεps.search_space import SearchSpace
from dεps.strategies.base import Restricted, Setup
from dεps.strategies.ofa import ProgressiveShrinking, Shrinking, TeacherOptions


@dataclass
class Options(TeacherOptions):
    """Keys of a method that uses this strategy."""

    #: one kernel a stage; a shorter list is repeated from its start
    kernels: list[int] = field(default_factory=lambda: [3, 5, 3, 3, 5])

    def restricted(self, space: SearchSpace, where: str) -> SearchSpace:
        """That part of `space` as for other methods; but for the kernels, which are given by stage."""
        return Restricted(None, self.depths, self.expands).restricted(space, where)

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        super().check(where)
        if not self.kernels:
            raise UserError(f"{where}.kernels is empty; expected one kernel a stage, such as [3, 5, 3, 3, 5]")


def build(options: Options, setup: Setup) -> ProgressiveShrinking:
    """The strategy for `setup`. Raises `UserError` where a stage does not offer its kernel."""
    kernels = [options.kernels[number % len(options.kernels)] for number in range(len(setup.space.stages))]
    for number, (stage, kernel) in enumerate(zip(setup.space.stages, kernels, strict=True)):
        if kernel not in stage.kernel:
            raise UserError(f"compofa.kernels gives stage {number} kernel {kernel}; the space offers {stage.kernel}")
    space = setup.space.couple(kernels)
    stages = [
        Shrinking("coupled 1", 25, 0, 32.5, 4, space, "all"),
        Shrinking("coupled 2", 125, 5, 10.8, 4, space, "all"),
    ]
    return ProgressiveShrinking(options, setup, space, stages, kernel_transform=False)
