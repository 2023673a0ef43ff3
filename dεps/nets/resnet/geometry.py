"""ResNet-D: stages of bottlenecks, elastic in depth, expand ratio and width.

The stem is three convolutions, the middle one a residual that may be skipped, and a max-pool; shortcuts average-pool
before they project. Geometry follows OFA's public ResNet50-D supernet (arXiv 1908.09791).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from dεps.core.schema import checked
from dεps.spaces.space import Arch, Layer, Ratios, SearchSpace, make_divisible, strided


@checked
class Stem:
    """3×3 of stride 2 to half of `width`, a residual 3×3 that may be skipped, 3×3 to `width`, max-pool 3/2."""

    #: channels of its output in the full model
    width: Annotated[int, Field(ge=16, le=16_384)]


class StemSpec(NamedTuple):
    """Geometry of the stem inside one arch."""

    mid: int
    outputs: int
    residual: bool


class BottleneckSpec(NamedTuple):
    """Geometry of one bottleneck inside one arch."""

    place: int  # position in the supernet's flat list of blocks
    inputs: int
    mid: int
    outputs: int
    stride: int
    projection: bool  # the shortcut is an average pool and a 1×1; otherwise the identity


@checked(kw_only=True)
class Space(SearchSpace):
    """Search space of the ResNet family. Its first stage is the stem's residual, of depth 0 or 1."""

    stem: Stem
    #: choices of each width multiplier; the stem's middle, its output, and every further stage have one each
    width_mult: Ratios

    @model_validator(mode="after")
    def _fits(self) -> Space:
        first, *others = self.stages
        if not {*first.depth} <= {0, 1} or len(first.expand) > 1 or not others:
            raise ValueError("stages[0] must be the stem's residual: depth of 0 and 1, one expand ratio")
        for number, stage in enumerate(others, 1):
            if stage.depth[0] < 1:
                raise ValueError(f"stages[{number}].depth is {stage.depth}; expected 1 or more blocks")
        for number, stage in enumerate(self.stages):
            if stage.kernel != [3] or stage.act != "relu" or stage.se:
                raise ValueError(f"stages[{number}]: a ResNet's blocks have kernel [3], act relu and no se")
        return self

    @property
    def width_choices(self) -> list[list[float]]:
        """Choices of the multipliers for the stem's middle, its output, and each stage but the stem's own."""
        return [self.width_mult] * (1 + len(self.stages))

    def top(self, depth: int = 0, kernel: int = 0, expand: int = 0) -> SearchSpace:
        """As in other spaces; width multipliers open together with the expand ratios."""
        return replace(super().top(depth, kernel, expand), width_mult=self.width_mult[-expand:])

    def stem_spec(self, arch: Arch) -> StemSpec:
        """Geometry of the stem of `arch`."""
        middle, out = (make_divisible(self.stem.width * width) for width in arch.widths[:2])
        return StemSpec(make_divisible(middle // 2), out, bool(arch.stages[0]))

    def blocks(self, arch: Arch) -> Iterator[BottleneckSpec]:
        """The bottlenecks of `arch` in the order of computation."""
        inputs, start = self.stem_spec(arch).outputs, 0
        for stage, blocks, width in zip(self.stages[1:], arch.stages[1:], arch.widths[2:], strict=True):
            outputs = make_divisible(stage.width * width)
            for position, block in enumerate(blocks):
                stride = stage.stride if position == 0 else 1
                mid = make_divisible(round(outputs * block.expand))
                yield BottleneckSpec(start + position, inputs, mid, outputs, stride, projection=position == 0)
                inputs = outputs
            start += stage.depth[-1]

    def layers(self, arch: Arch, classes: int, channels: int) -> Iterator[Layer]:
        """Every convolution and linear layer of `arch`, in the order of computation."""
        size, stem = strided(arch.resolution, 2), self.stem_spec(arch)
        yield Layer(3, channels, stem.mid, size)
        if stem.residual:
            yield Layer(3, stem.mid, stem.mid, size, slot=0)
        yield Layer(3, stem.mid, stem.outputs, size)
        size, width = strided(size, 2), stem.outputs
        for block in self.blocks(arch):
            slot = self.stages[0].depth[-1] + block.place
            yield Layer(1, block.inputs, block.mid, size, slot=slot)
            size = strided(size, block.stride)
            yield Layer(3, block.mid, block.mid, size, slot=slot)
            yield Layer(1, block.mid, block.outputs, size, slot=slot)
            if block.projection:
                yield Layer(1, block.inputs, block.outputs, size, slot=slot)
            width = block.outputs
        yield Layer(1, width, classes, 1, bn=False, bias=True)
