"""CompOFA (arXiv 2104.12642): OFA on a space in which depth and expand ratio go together.

Update: as OFA's, in two phases of 25 and 125 epochs (against 180 of the teacher), which both offer all coupled choices.
Kernels are fixed per stage and not transformed. Both phases sort channels over the whole width, as the public code
does. A stage with a single depth, such as Proxyless's last, has all its expand ratios, one for all of its blocks.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field

from dεps.core.errors import UserError
from dεps.core.schema import checked
from dεps.methods.base import Look, Restricted, Setup
from dεps.methods.ofa import ProgressiveShrinking, Shrinking, TeacherOptions
from dεps.spaces.space import SearchSpace

LOOK = Look("CompOFA", "#56B4E9", 30)


@checked
class Options(TeacherOptions):
    """Keys of a method that uses this one."""

    #: one kernel a stage; a shorter list is repeated from its start
    kernels: Annotated[list[int], Field(min_length=1)] = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default_factory=lambda: [3, 5, 3, 3, 5]
    )

    def restricted(self, space: SearchSpace, where: str) -> SearchSpace:
        """The whole `space`, whose full model teaches; `build` couples it, then keeps the `depths` alone.

        Raises `UserError` where a stage does not offer its kernel, and for `expands`, which follow the depths.
        """
        if self.expands is not None:
            raise UserError(f"{where}.expands is {self.expands}; here the ratio follows the depth: set {where}.depths")
        for number, (stage, kernel) in enumerate(zip(space.stages, self.each_kernel(space), strict=True)):
            if kernel not in stage.kernel:
                offered = f"the space offers {stage.kernel}"
                raise UserError(f"{where}.kernels gives stage {number} kernel {kernel}; {offered}")
        Restricted(None, self.depths, None).restricted(space, where)
        return space

    def each_kernel(self, space: SearchSpace) -> list[int]:
        """The kernel of each stage."""
        return [self.kernels[number % len(self.kernels)] for number in range(len(space.stages))]


def build(options: Options, setup: Setup) -> ProgressiveShrinking:
    """The method for `setup`. Each depth keeps the ratio that it has in the whole coupled space."""
    space = setup.space.couple(options.each_kernel(setup.space)).restrict(depth=options.depths)
    stages = [
        Shrinking("coupled 1", 25, 0, 32.5, 4, space, "all"),
        Shrinking("coupled 2", 125, 5, 10.8, 4, space, "all"),
    ]
    return ProgressiveShrinking(options, setup, stages)
