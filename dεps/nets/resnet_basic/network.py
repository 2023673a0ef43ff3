"""Network of the family up to its features: stem and basic blocks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from dεps.nets.family import SortableAxis, Stretch
from dεps.nets.layers import ElasticBatchNorm, ElasticConvBN, ElasticDense, ReluResidual
from dεps.nets.resnet_basic.geometry import BlockSpec, Space, middle_width
from dεps.spaces.space import Arch


class ElasticBlock(nn.Module):
    """Convolution-BN-ReLU, convolution-BN beside a shortcut, then ReLU; runs as any smaller `BlockSpec`."""

    def __init__(self, largest: BlockSpec, kernels: list[int], expands: list[float], kernel_transform: bool) -> None:
        super().__init__()
        self.largest, self.expands = largest, expands
        self.first = ElasticDense(largest.inputs, largest.mid, kernels, largest.stride, kernel_transform)
        self.first_bn = ElasticBatchNorm(largest.mid)
        self.second = ElasticDense(largest.mid, largest.outputs, kernels, 1, kernel_transform)
        self.second_bn = ElasticBatchNorm(largest.outputs)
        if largest.projection:
            self.shortcut = ElasticConvBN(largest.inputs, largest.outputs)

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        y = self.first_bn(self.first(x, spec.mid, spec.kernel), "relu")
        y = self.second_bn(self.second(y, spec.outputs, spec.kernel))
        if spec.projection:
            if spec.stride > 1:
                x = F.avg_pool2d(x, spec.stride, ceil_mode=True)
            x = self.shortcut(x, spec.outputs)
        return F.relu(x + y, inplace=True)

    def plain(self, spec: BlockSpec) -> ReluResidual:
        """The block as `spec` says, of ordinary layers."""
        path = [
            self.first.plain(spec.inputs, spec.mid, spec.kernel),
            self.first_bn.plain(spec.mid),
            nn.ReLU(inplace=True),
            self.second.plain(spec.mid, spec.outputs, spec.kernel),
            self.second_bn.plain(spec.outputs),
        ]
        shortcut: list[nn.Module] = []
        if spec.projection:
            shortcut = [nn.AvgPool2d(spec.stride, ceil_mode=True)] if spec.stride > 1 else []
            shortcut += self.shortcut.plain(spec.inputs, spec.outputs)
        return ReluResidual(nn.Sequential(*path), nn.Sequential(*shortcut))

    def sortable(self) -> Iterator[SortableAxis]:
        """The channels between the convolutions."""
        borders = [middle_width(self.largest.outputs, ratio) for ratio in self.expands[1:]]
        tensors = [*self.first.by_output(), *self.first_bn.by_channel(), *self.second.by_input()]
        yield SortableAxis(self.second.weight, borders, tensors)

    def residual_scale(self) -> nn.Parameter:
        """γ of the second BN."""
        return self.second_bn.weight


class Body(nn.Module):
    """Features (batch, width of the last stage) of images (batch, channels, height, width), under any arch."""

    def __init__(self, space: Space, channels: int, kernel_transform: bool) -> None:
        super().__init__()
        self.space = space
        specs = list(space.blocks(space.largest()))
        choices = [(stage.kernel, stage.expand) for stage in space.stages for _ in range(stage.depth[-1])]
        self.stem = ElasticConvBN(channels, space.stem.width, 3, space.stem.stride)
        self.blocks = nn.ModuleList(
            ElasticBlock(spec, kernels, expands, kernel_transform)
            for spec, (kernels, expands) in zip(specs, choices, strict=True)
        )
        self.features = specs[-1].outputs

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        x = self.stem(x, self.space.stem.width, "relu")
        for spec in self.space.blocks(arch):
            x = self._block(spec)(x, spec)
        return x.mean((2, 3))

    def _block(self, spec: BlockSpec) -> ElasticBlock:
        return cast(ElasticBlock, self.blocks[spec.place])

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """Stem, each block, and pooling of `arch` as ordinary layers."""
        yield Stretch("stem", self._plain_stem)
        for spec in self.space.blocks(arch):
            yield Stretch(spec, partial(self._block(spec).plain, spec))
        yield Stretch("pool", lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    def _plain_stem(self) -> nn.Module:
        channels = self.stem.conv.weight.shape[1]
        return nn.Sequential(*self.stem.plain(channels, self.space.stem.width), nn.ReLU(inplace=True))
