"""Network of the ResNet-D family up to its features: stem and bottlenecks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from dεps.nets.family import SortableAxis, Stretch
from dεps.nets.layers import ElasticConvBN, ReluResidual, Residual
from dεps.nets.resnet.geometry import BottleneckSpec, Space, StemSpec
from dεps.spaces.space import Arch, make_divisible


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
        y = self.reduce(x, spec.mid, "relu")
        y = self.middle(y, spec.mid, "relu")
        y = self.restore(y, spec.outputs)
        if spec.projection:
            if spec.stride > 1:
                x = F.avg_pool2d(x, spec.stride, ceil_mode=True)
            x = self.shortcut(x, spec.outputs)
        return F.relu(x + y, inplace=True)

    def plain(self, spec: BottleneckSpec) -> ReluResidual:
        """The block as `spec` says, of ordinary layers."""
        path = [*self.reduce.plain(spec.inputs, spec.mid), nn.ReLU(inplace=True)]
        path += [*self.middle.plain(spec.mid, spec.mid), nn.ReLU(inplace=True)]
        path += self.restore.plain(spec.mid, spec.outputs)
        shortcut: list[nn.Module] = []
        if spec.projection:
            shortcut = [nn.AvgPool2d(spec.stride, ceil_mode=True)] if spec.stride > 1 else []
            shortcut += self.shortcut.plain(spec.inputs, spec.outputs)
        return ReluResidual(nn.Sequential(*path), nn.Sequential(*shortcut))

    def sortable(self) -> Iterator[SortableAxis]:
        """The channels that the last 1×1 reads, then those that the 3×3 reads."""
        borders = [make_divisible(round(self.largest.outputs * ratio)) for ratio in self.expands[1:]]
        for maker, reader in ((self.middle, self.restore), (self.reduce, self.middle)):
            yield SortableAxis(reader.conv.weight, borders, [*maker.by_output(), *reader.by_input()])

    def residual_scale(self) -> nn.Parameter:
        """γ of the last BN."""
        return self.restore.bn.weight


class Body(nn.Module):
    """Features (batch, width of the last stage) of images (batch, channels, height, width), under any arch."""

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
        x = self.stem_in(x, stem.mid, "relu")
        if stem.residual:
            x = x + self.stem_residual(x, stem.mid, "relu")
        x = self.stem_out(x, stem.outputs, "relu")
        x = F.max_pool2d(x, 3, 2, 1)
        for spec in self.space.blocks(arch):
            x = self._block(spec)(x, spec)
        return x.mean((2, 3))

    def _block(self, spec: BottleneckSpec) -> ElasticBottleneck:
        return cast(ElasticBottleneck, self.blocks[spec.place])

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """Stem, each block, and pooling of `arch` as ordinary layers."""
        stem = self.space.stem_spec(arch)
        yield Stretch(stem, partial(self._plain_stem, stem))
        for spec in self.space.blocks(arch):
            yield Stretch(spec, partial(self._block(spec).plain, spec))
        yield Stretch("pool", lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))

    def _plain_stem(self, stem: StemSpec) -> nn.Module:
        channels = self.stem_in.conv.weight.shape[1]
        layers = [*self.stem_in.plain(channels, stem.mid), nn.ReLU(inplace=True)]
        if stem.residual:
            layers.append(Residual(*self.stem_residual.plain(stem.mid, stem.mid), nn.ReLU(inplace=True)))
        layers += [*self.stem_out.plain(stem.mid, stem.outputs), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        return nn.Sequential(*layers)
