"""Plain residual blocks, elastic in depth, kernel and width: the smallest family that has all of it; for tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dεps.core.schema import checked
from dεps.spaces.space import Arch, Layer, SearchSpace, Width, make_divisible, strided


class BlockSpec(NamedTuple):
    """Geometry of one block inside one arch."""

    place: int
    inputs: int
    mid: int
    outputs: int
    kernel: int
    stride: int
    skip: bool


@checked(kw_only=True)
class Space(SearchSpace):
    """A space of the plain family."""

    #: channels of the stem's output
    stem_width: Width

    def blocks(self, arch: Arch) -> Iterator[BlockSpec]:
        """The blocks of `arch` in the order of computation."""
        width, start = self.stem_width, 0
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            for position, block in enumerate(blocks):
                stride, mid = stage.stride if position == 0 else 1, make_divisible(stage.width * block.expand)
                skip = stride == 1 and width == stage.width
                yield BlockSpec(start + position, width, mid, stage.width, block.kernel, stride, skip)
                width = stage.width
            start += stage.depth[-1]

    def layers(self, arch: Arch, classes: int, channels: int) -> Iterator[Layer]:
        """Every convolution and linear layer of `arch`."""
        size, width = arch.resolution, self.stem_width
        yield Layer(3, channels, width, size)
        for spec in self.blocks(arch):
            size, width = strided(size, spec.stride), spec.outputs
            yield Layer(spec.kernel, spec.inputs, spec.mid, size, slot=spec.place)
            yield Layer(1, spec.mid, spec.outputs, size, slot=spec.place)
        yield Layer(1, width, classes, 1, bn=False, bias=True)
