"""ResNet of basic blocks, for small images.

Stages are elastic in depth, in the channels between the convolutions, and in kernel.
A block is that of ResNet's CIFAR networks (arXiv 1512.03385, §4.2) with the pooled shortcut of ResNet-D (1812.01187).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import model_validator

from dεps.core.schema import checked
from dεps.spaces.space import Arch, Layer, SearchSpace, Stride, Width, make_divisible, strided


@checked
class Stem:
    """First convolution, 3×3, with BN and ReLU."""

    #: channels of its output
    width: Width
    stride: Stride


class BlockSpec(NamedTuple):
    """Geometry of one basic block inside one arch."""

    place: int  # position in the supernet's flat list of blocks
    inputs: int
    mid: int
    outputs: int
    kernel: int
    stride: int
    projection: bool  # the shortcut is an average pool and a 1×1; otherwise the identity


@checked(kw_only=True)
class Space(SearchSpace):
    """Search space of the family."""

    stem: Stem

    @model_validator(mode="after")
    def _fits(self) -> Space:
        for number, stage in enumerate(self.stages):
            if stage.depth[0] < 1:
                raise ValueError(f"stages[{number}].depth is {stage.depth}; expected 1 or more blocks")
            if stage.act != "relu" or stage.se:
                raise ValueError(f"stages[{number}]: basic blocks have act relu and no se")
            middles = [middle_width(stage.width, ratio) for ratio in stage.expand]
            if len({*middles}) < len(middles):  # two archs that are one network
                raise ValueError(f"stages[{number}].expand gives {middles} channels; expected different numbers")
        return self

    def blocks(self, arch: Arch) -> Iterator[BlockSpec]:
        """The basic blocks of `arch` in the order of computation."""
        inputs, start = self.stem.width, 0
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            for position, block in enumerate(blocks):
                stride = stage.stride if position == 0 else 1
                projection = stride > 1 or inputs != stage.width
                mid = middle_width(stage.width, block.expand)
                yield BlockSpec(start + position, inputs, mid, stage.width, block.kernel, stride, projection)
                inputs = stage.width
            start += stage.depth[-1]

    def layers(self, arch: Arch, classes: int, channels: int) -> Iterator[Layer]:
        """Every convolution and linear layer of `arch`, in the order of computation."""
        size = strided(arch.resolution, self.stem.stride)
        yield Layer(3, channels, self.stem.width, size)
        for block in self.blocks(arch):
            size = strided(size, block.stride)
            yield Layer(block.kernel, block.inputs, block.mid, size, slot=block.place)
            yield Layer(block.kernel, block.mid, block.outputs, size, slot=block.place)
            if block.projection:
                yield Layer(1, block.inputs, block.outputs, size, slot=block.place)
        yield Layer(1, self.stages[-1].width, classes, 1, bn=False, bias=True)


def middle_width(outputs: int, expand: float) -> int:
    """Number of channels between the two convolutions of a basic block."""
    return make_divisible(round(outputs * expand))
