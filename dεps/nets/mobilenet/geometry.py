"""MobileNetV3 and ProxylessNAS: stages of inverted bottlenecks, elastic in depth, kernel and expand ratio.

Geometry and rounding follow OFA (arXiv 1908.09791, §3 and its public supernets).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from dεps.core.schema import checked
from dεps.spaces.space import Activation, Arch, Layer, SearchSpace, Stride, Width, make_divisible, strided


@checked
class Stem:
    """First convolution, 3×3, with BN."""

    #: channels of its output
    width: Width
    stride: Stride
    act: Activation


@checked
class Static:
    """Block after the stem, the same in every arch: depthwise 3×3 and projection, with expand ratio 1."""

    #: channels of its output
    width: Width
    act: Activation
    #: add its input to its output
    skip: bool


@checked
class Head:
    """1×1 with BN, global pooling, then a 1×1 without BN, which may be left out."""

    #: channels of the first
    expand: Width
    #: channels of the second; 0: there is none
    features: Annotated[int, Field(ge=0, le=16_384)]
    act: Activation


class BlockSpec(NamedTuple):
    """Geometry of one inverted bottleneck inside one arch: channels, and what it is made of."""

    place: int  # position in the supernet's flat list of blocks; 0 is the static block
    inputs: int
    mid: int
    outputs: int
    kernel: int
    stride: int
    act: str
    se: int  # squeezed width, 0 without squeeze-and-excite
    skip: bool
    expansion: bool  # False for the static block, which has no 1×1 expansion


@checked(kw_only=True)
class Space(SearchSpace):
    """Search space of the MobileNet family."""

    stem: Stem
    static: Static
    head: Head
    #: epsilon of batch normalisation
    bn_eps: Annotated[float, Field(gt=0, le=1)] = 1e-5

    @model_validator(mode="after")
    def _fits(self) -> Space:
        for number, stage in enumerate(self.stages):
            if stage.depth[0] < 1:
                raise ValueError(f"stages[{number}].depth is {stage.depth}; expected 1 or more blocks")
        if self.static.skip and self.static.width != self.stem.width:
            raise ValueError("static.skip is true; expected static.width to equal stem.width then")
        return self

    def blocks(self, arch: Arch) -> Iterator[BlockSpec]:
        """The inverted bottlenecks of `arch`, static block first, in the order of computation."""
        width = self.stem.width
        yield BlockSpec(0, width, width, self.static.width, 3, 1, self.static.act, 0, self.static.skip, expansion=False)
        width, start = self.static.width, 1
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            for position, block in enumerate(blocks):
                mid, stride = middle_width(width, block.expand), stage.stride if position == 0 else 1
                yield BlockSpec(
                    place=start + position,
                    inputs=width,
                    mid=mid,
                    outputs=stage.width,
                    kernel=block.kernel,
                    stride=stride,
                    act=stage.act,
                    se=squeeze_width(mid) if stage.se else 0,
                    skip=stride == 1 and width == stage.width,
                    expansion=True,
                )
                width = stage.width
            start += stage.depth[-1]

    def layers(self, arch: Arch, classes: int, channels: int) -> Iterator[Layer]:
        """Every convolution and linear layer of `arch`, in the order of computation."""
        size = strided(arch.resolution, self.stem.stride)
        yield Layer(3, channels, self.stem.width, size)
        width = self.stem.width
        for block in self.blocks(arch):
            slot = block.place - 1 if block.place else None
            if block.expansion:
                yield Layer(1, block.inputs, block.mid, size, slot=slot)
            size = strided(size, block.stride)
            yield Layer(block.kernel, block.mid, block.mid, size, groups=block.mid, slot=slot)
            if block.se:
                yield Layer(1, block.mid, block.se, 1, bn=False, bias=True, slot=slot)
                yield Layer(1, block.se, block.mid, 1, bn=False, bias=True, slot=slot)
            yield Layer(1, block.mid, block.outputs, size, slot=slot)
            width = block.outputs
        head = self.head
        yield Layer(1, width, head.expand, size)
        if head.features:
            yield Layer(1, head.expand, head.features, 1, bn=False)
        yield Layer(1, head.features or head.expand, classes, 1, bn=False, bias=True)


def middle_width(inputs: int, expand: float) -> int:
    """Number of channels between the expansion and the projection of an inverted bottleneck."""
    return make_divisible(round(inputs * expand))


def squeeze_width(mid: int) -> int:
    """Number of hidden channels of squeeze-and-excite over `mid` channels."""
    return make_divisible(mid // 4)
