"""Network of the MobileNet family up to its features: stem, inverted bottlenecks, head."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from torch import Tensor, nn

from dεps.nets.family import SortableAxis, Stretch
from dεps.nets.layers import (
    ElasticBatchNorm,
    ElasticConv,
    ElasticDepthwise,
    ElasticSqueezeExcite,
    Pool,
    Residual,
    activate,
    activation,
)
from dεps.nets.mobilenet.geometry import BlockSpec, Space, middle_width
from dεps.spaces.space import Arch


class ElasticBlock(nn.Module):
    """Inverted bottleneck (1×1-BN-act, depthwise-BN-act-SE, 1×1-BN) that runs as any smaller `BlockSpec`.

    Args:
        largest: the geometry that holds all others.
        kernels: the choices, ascending.
        expands: the expand ratios to choose from, ascending; empty for the static block.
        kernel_transform: as for `Supernet`.
        eps: of batch normalisation.
    """

    def __init__(
        self, largest: BlockSpec, kernels: list[int], expands: list[float], kernel_transform: bool, eps: float
    ) -> None:
        super().__init__()
        self.largest, self.expands = largest, expands
        if largest.expansion:
            self.expand = ElasticConv(largest.inputs, largest.mid)
            self.expand_bn = ElasticBatchNorm(largest.mid, eps)
        self.depthwise = ElasticDepthwise(largest.mid, kernels, largest.stride, kernel_transform)
        self.depthwise_bn = ElasticBatchNorm(largest.mid, eps)
        if largest.se:
            self.se = ElasticSqueezeExcite(largest.mid, largest.se)
        self.project = ElasticConv(largest.mid, largest.outputs)
        self.project_bn = ElasticBatchNorm(largest.outputs, eps)

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        y = x
        if spec.expansion:
            y = self.expand_bn(self.expand(y, spec.mid), spec.act)
        y = self.depthwise_bn(self.depthwise(y, spec.kernel), spec.act)
        if spec.se:
            y = self.se(y, spec.se)
        y = self.project_bn(self.project(y, spec.outputs))
        return x + y if spec.skip else y

    def plain(self, spec: BlockSpec) -> Residual:
        """The block as `spec` says, of ordinary layers."""
        layers: list[nn.Module] = []
        if spec.expansion:
            layers += [self.expand.plain(spec.inputs, spec.mid), self.expand_bn.plain(spec.mid), activation(spec.act)]
        layers += [self.depthwise.plain(spec.mid, spec.kernel), self.depthwise_bn.plain(spec.mid), activation(spec.act)]
        if spec.se:
            layers.append(self.se.plain(spec.mid, spec.se))
        layers += [self.project.plain(spec.mid, spec.outputs), self.project_bn.plain(spec.outputs)]
        return Residual(*layers, skip=spec.skip)

    def sortable(self) -> Iterator[SortableAxis]:
        """The middle channels; squeeze-and-excite has hidden units of its own."""
        if not self.largest.expansion:
            return
        # Every expand ratio but the smallest is a border that sorting must not cross: the smallest shrinks out of
        # the next one's leading channels, so those may mix, while later groups must stay behind it.
        borders = [middle_width(self.largest.inputs, ratio) for ratio in self.expands[1:]]
        tensors = [*self.expand.by_output(), *self.expand_bn.by_channel()]
        tensors += [*self.depthwise.by_channel(), *self.depthwise_bn.by_channel()]
        tensors += self.se.by_channel() if self.largest.se else []
        yield SortableAxis(self.project.weight, borders, [*tensors, *self.project.by_input()])

    def residual_scale(self) -> nn.Parameter | None:
        """γ of the projection's BN."""
        return self.project_bn.weight if self.largest.skip else None


class Body(nn.Module):
    """Features (batch, features) of images (batch, channels, height, width) under any arch of the space."""

    def __init__(self, space: Space, channels: int, kernel_transform: bool) -> None:
        super().__init__()
        self.space = space
        stem, head = space.stem, space.head
        self.stem = ElasticConv(channels, stem.width, 3, stem.stride)
        self.stem_bn = ElasticBatchNorm(stem.width, space.bn_eps)
        specs = list(space.blocks(space.largest()))
        choices = [([3], [])] + [(s.kernel, s.expand) for s in space.stages for _ in range(s.depth[-1])]
        self.blocks = nn.ModuleList(
            ElasticBlock(spec, kernels, expands, kernel_transform, space.bn_eps)
            for spec, (kernels, expands) in zip(specs, choices, strict=True)
        )
        self.final = ElasticConv(specs[-1].outputs, head.expand)
        self.final_bn = ElasticBatchNorm(head.expand, space.bn_eps)
        if head.features:
            self.mix = ElasticConv(head.expand, head.features)
        self.features = head.features or head.expand

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        stem, head = self.space.stem, self.space.head
        x = self.stem_bn(self.stem(x, stem.width), stem.act)
        for spec in self.space.blocks(arch):
            x = self._block(spec)(x, spec)
        x = self.final_bn(self.final(x, head.expand), head.act)
        x = x.mean((2, 3), keepdim=True)
        if head.features:
            x = activate(self.mix(x, head.features), head.act)
        return x.flatten(1)

    def _block(self, spec: BlockSpec) -> ElasticBlock:
        return cast(ElasticBlock, self.blocks[spec.place])

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """Stem, each block, and head of `arch` as ordinary layers."""
        specs = list(self.space.blocks(arch))
        yield Stretch("stem", self._plain_stem)
        for spec in specs:
            yield Stretch(spec, partial(self._block(spec).plain, spec))
        yield Stretch("head", partial(self._plain_head, specs[-1].outputs))

    def _plain_stem(self) -> nn.Module:
        stem, channels = self.space.stem, self.stem.weight.shape[1]
        conv, norm = self.stem.plain(channels, stem.width), self.stem_bn.plain(stem.width)
        return nn.Sequential(conv, norm, activation(stem.act))

    def _plain_head(self, inputs: int) -> nn.Module:
        head = self.space.head
        layers = [self.final.plain(inputs, head.expand), self.final_bn.plain(head.expand), activation(head.act), Pool()]
        if head.features:
            layers += [self.mix.plain(head.expand, head.features), activation(head.act)]
        return nn.Sequential(*layers, nn.Flatten())
