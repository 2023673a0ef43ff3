"""MobileNetV3 and ProxylessNAS: stages of inverted bottlenecks, elastic in depth, kernel and expand ratio.

Geometry and rounding follow OFA (arXiv 1908.09791, §3 and its public supernets).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dεps.core.errors import UserError
from dεps.spaces.space import ACTIVATIONS, Arch, Layer, SearchSpace, check_choice, check_width, make_divisible, strided


@dataclass
class Stem:
    """First convolution, 3×3, with BN."""

    width: int
    stride: int
    act: str


@dataclass
class Static:
    """Block after the stem, the same in every arch: depthwise 3×3 and projection, with expand ratio 1."""

    width: int
    act: str
    skip: bool


@dataclass
class Head:
    """1×1 to `expand` channels with BN, global pooling, then a 1×1 to `features` without BN (0: no such layer)."""

    expand: int
    features: int
    act: str


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


@dataclass(kw_only=True)
class Space(SearchSpace):
    """Search space of the MobileNet family."""

    stem: Stem
    static: Static
    head: Head
    #: epsilon of batch normalisation
    bn_eps: float = 1e-5

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        super().check(where)
        for number, stage in enumerate(self.stages):
            if stage.depth[0] < 1:
                raise UserError(f"{where}.stages[{number}].depth is {stage.depth}; expected 1 or more blocks")
        for key, act in (("stem", self.stem.act), ("static", self.static.act), ("head", self.head.act)):
            check_choice(act, ACTIVATIONS, f"{where}.{key}.act")
        widths = {"stem.width": self.stem.width, "static.width": self.static.width, "head.expand": self.head.expand}
        for key, value in widths.items():
            check_width(value, f"{where}.{key}")
        if not 0 < self.bn_eps <= 1:
            raise UserError(f"{where}.bn_eps is {self.bn_eps}; expected a positive number up to 1")
        if self.head.features:  # 0: none
            check_width(self.head.features, f"{where}.head.features")
        check_choice(self.stem.stride, (1, 2), f"{where}.stem.stride")
        if self.static.skip and self.static.width != self.stem.width:
            raise UserError(f"{where}.static.skip is true; expected static.width to equal stem.width then")

    def blocks(self, arch: Arch) -> Iterator[BlockSpec]:
        """The inverted bottlenecks of `arch`, static block first, in the order of computation."""
        width = self.stem.width
        yield BlockSpec(0, width, width, self.static.width, 3, 1, self.static.act, 0, self.static.skip, expansion=False)
        width, start = self.static.width, 1
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            for position, block in enumerate(blocks):
                mid = middle_width(width, block.expand)
                stride = stage.stride if position == 0 else 1
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
