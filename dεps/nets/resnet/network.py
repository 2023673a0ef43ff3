"""The ResNet-D family's network up to its features: stem and bottlenecks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dεps.nets.layers import ElasticBatchNorm, ElasticConv, SortableAxis, Stretch
from dεps.nets.resnet.geometry import BottleneckSpec, Space, StemSpec
from dεps.spaces.space import Arch, make_divisible


class ElasticConvBN(nn.Module):
    """Convolution and BN over the first channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = ElasticConv(inputs, outputs, kernel, stride)
        self.bn = ElasticBatchNorm(outputs)

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        return self.bn(self.conv(x, outputs))

    def plain(self, inputs: int, outputs: int) -> list[nn.Module]:
        """The slice as ordinary layers."""
        return [self.conv.plain(inputs, outputs), self.bn.plain(outputs)]


class ElasticBottleneck(nn.Module):
    """1×1-BN-ReLU, 3×3-BN-ReLU, 1×1-BN beside a shortcut, then ReLU; runs as any smaller `BottleneckSpec`."""

    def __init__(self, largest: BottleneckSpec, expands: list[float]) -> None:
        super().__init__()
        self.largest, self.expands = largest, expands
        self.reduce = ElasticConvBN(largest.inputs, largest.mid)
        self.middle = ElasticConvBN(largest.mid, largest.mid, 3, largest.stride)
        self.restore = ElasticConvBN(largest.mid, largest.outputs)
        if largest.projection:
            self.shortcut = ElasticConvBN(largest.inputs, largest.outputs)

    def forward(self, x: Tensor, spec: BottleneckSpec) -> Tensor:
        y = F.relu(self.reduce(x, spec.mid), inplace=True)
        y = F.relu(self.middle(y, spec.mid), inplace=True)
        y = self.restore(y, spec.outputs)
        if spec.projection:
            if spec.stride > 1:
                x = F.avg_pool2d(x, spec.stride, ceil_mode=True)
            x = self.shortcut(x, spec.outputs)
        return F.relu(x + y, inplace=True)

    def plain(self, spec: BottleneckSpec) -> PlainBottleneck:
        """The block as `spec` says, of ordinary layers."""
        path = [*self.reduce.plain(spec.inputs, spec.mid), nn.ReLU(inplace=True)]
        path += [*self.middle.plain(spec.mid, spec.mid), nn.ReLU(inplace=True)]
        path += self.restore.plain(spec.mid, spec.outputs)
        shortcut: list[nn.Module] = []
        if spec.projection:
            shortcut = [nn.AvgPool2d(spec.stride, ceil_mode=True)] if spec.stride > 1 else []
            shortcut += self.shortcut.plain(spec.inputs, spec.outputs)
        return PlainBottleneck(nn.Sequential(*path), nn.Sequential(*shortcut))

    def sortable(self) -> Iterator[SortableAxis]:
        """The channels that the last 1×1 reads, then those that the 3×3 reads."""
        borders = [make_divisible(round(self.largest.outputs * ratio)) for ratio in self.expands[1:]]
        for first, second in ((self.middle, self.restore), (self.reduce, self.middle)):
            reader = second.conv.weight
            yield SortableAxis(reader, borders, [(first.conv.weight, 0), *first.bn.sortable(), (reader, 1)])


class PlainBottleneck(nn.Module):
    """Bottleneck of fixed shape."""

    def __init__(self, path: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.shortcut(x))


class Residual(nn.Module):
    """The layers beside an identity."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResNetBody(nn.Module):
    """Images (batch, channels, height, width) to features (batch, width of the last stage), under any arch."""

    def __init__(self, space: Space, channels: int, kernel_transform: bool) -> None:
        super().__init__()
        self.space = space
        largest = space.largest()
        stem, specs = space.stem_spec(largest), list(space.blocks(largest))
        expands = [stage.expand for stage in space.stages[1:] for _ in range(stage.depth[-1])]
        self.stem_in = ElasticConvBN(channels, stem.mid, 3, 2)
        self.stem_residual = ElasticConvBN(stem.mid, stem.mid, 3)
        self.stem_out = ElasticConvBN(stem.mid, stem.outputs, 3)
        self.blocks = nn.ModuleList(ElasticBottleneck(spec, e) for spec, e in zip(specs, expands, strict=True))
        self.features = specs[-1].outputs

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        stem = self.space.stem_spec(arch)
        x = F.relu(self.stem_in(x, stem.mid), inplace=True)
        if stem.residual:
            x = x + F.relu(self.stem_residual(x, stem.mid), inplace=True)
        x = F.relu(self.stem_out(x, stem.outputs), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        for spec in self.space.blocks(arch):
            x = self.blocks[spec.index](x, spec)
        return x.mean((2, 3))

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """The body of `arch` as ordinary layers: stem, each block, pooling."""
        stem = self.space.stem_spec(arch)
        yield Stretch(stem, partial(self._plain_stem, stem))
        for spec in self.space.blocks(arch):
            yield Stretch(spec, partial(self.blocks[spec.index].plain, spec))
        yield Stretch("pool", lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    def _plain_stem(self, stem: StemSpec) -> nn.Module:
        channels = self.stem_in.conv.weight.shape[1]
        layers = [*self.stem_in.plain(channels, stem.mid), nn.ReLU(inplace=True)]
        if stem.residual:
            layers.append(Residual(*self.stem_residual.plain(stem.mid, stem.mid), nn.ReLU(inplace=True)))
        layers += [*self.stem_out.plain(stem.mid, stem.outputs), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        return nn.Sequential(*layers)

    def sortable(self) -> Iterator[SortableAxis]:
        """All channels whose order is free; the caller permutes each before it asks for the next."""
        for block in self.blocks:
            yield from block.sortable()

    def residual_norms(self) -> Iterator[ElasticBatchNorm]:
        """The last BN of each bottleneck."""
        return (block.restore.bn for block in self.blocks)
