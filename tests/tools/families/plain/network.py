"""Network of the plain family; the convolution of elastic kernel is a layer of its own, and its block writes itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dεps.nets.family import Graph, SortableAxis, Stretch
from dεps.nets.layers import ElasticBatchNorm, ElasticConvBN, Pool, plain_conv, slice_of
from dεps.spaces.space import Arch, make_divisible

from .geometry import BlockSpec, Space


class ElasticKernelConv(nn.Module):
    """Convolution of elastic widths and kernel, the kernel by centre crop."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))

    def sliced(self, inputs: int, outputs: int, kernel: int) -> Tensor:
        """Weight (outputs, inputs, kernel, kernel)."""
        return slice_of(self.weight, outputs, inputs, kernel, kernel)

    def forward(self, x: Tensor, outputs: int, kernel: int) -> Tensor:
        return F.conv2d(x, self.sliced(x.shape[1], outputs, kernel), None, self.stride, kernel // 2)


class ElasticBlock(nn.Module):
    """k×k-BN-ReLU, 1×1-BN, and a shortcut where shapes allow it, then ReLU."""

    def __init__(self, largest: BlockSpec, expands: list[float]) -> None:
        super().__init__()
        self.largest, self.expands = largest, expands
        self.conv = ElasticKernelConv(largest.inputs, largest.mid, largest.kernel, largest.stride)
        self.bn = ElasticBatchNorm(largest.mid)
        self.out = ElasticConvBN(largest.mid, largest.outputs)

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        y = self.out(F.relu(self.bn(self.conv(x, spec.mid, spec.kernel))), spec.outputs)
        return F.relu(x + y if spec.skip else y)

    def plain(self, spec: BlockSpec) -> PlainBlock:
        """The block as `spec` says, of ordinary layers."""
        conv = plain_conv(self.conv.sliced(spec.inputs, spec.mid, spec.kernel), stride=spec.stride)
        out = self.out.plain(spec.mid, spec.outputs)
        return PlainBlock(nn.Sequential(conv, self.bn.plain(spec.mid), nn.ReLU(), *out), spec.skip)

    def sortable(self) -> Iterator[SortableAxis]:
        """The middle channels."""
        borders = [make_divisible(self.largest.outputs * ratio) for ratio in self.expands[1:]]
        tensors = [(self.conv.weight, 0), *self.bn.by_channel(), *self.out.by_input()]
        yield SortableAxis(self.out.conv.weight, borders, tensors)

    def residual_scale(self) -> nn.Parameter | None:
        """γ of the last BN."""
        return self.out.bn.weight if self.largest.skip else None


class PlainBlock(nn.Module):
    """Block of fixed shape."""

    def __init__(self, path: nn.Module, skip: bool) -> None:
        super().__init__()
        self.path, self.skip = path, skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.path(x) if self.skip else self.path(x))

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Append path, sum and ReLU."""
        y = graph.add(self.path, x)
        return graph.node("Relu", graph.node("Add", x, y) if self.skip else y)


class Body(nn.Module):
    """Features (batch, width of the last stage) of images (batch, channels, height, width), under any arch."""

    def __init__(self, space: Space, channels: int, kernel_transform: bool) -> None:
        super().__init__()
        self.space, self.channels = space, channels
        specs = list(space.blocks(space.largest()))
        expands = [stage.expand for stage in space.stages for _ in range(stage.depth[-1])]
        self.stem = ElasticConvBN(channels, space.stem_width, 3)
        self.blocks = nn.ModuleList(ElasticBlock(spec, e) for spec, e in zip(specs, expands, strict=True))
        self.features = specs[-1].outputs

    def _block(self, spec: BlockSpec) -> ElasticBlock:
        return cast(ElasticBlock, self.blocks[spec.place])

    def forward(self, x: Tensor, arch: Arch) -> Tensor:
        x = F.relu(self.stem(x, self.space.stem_width))
        for spec in self.space.blocks(arch):
            x = self._block(spec)(x, spec)
        return x.mean((2, 3))

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """Stem, each block, and pooling of `arch` as ordinary layers."""
        yield Stretch("stem", self._plain_stem)
        for spec in self.space.blocks(arch):
            yield Stretch(spec, partial(self._block(spec).plain, spec))
        yield Stretch("pool", lambda: nn.Sequential(Pool(), nn.Flatten()))

    def _plain_stem(self) -> nn.Module:
        return nn.Sequential(*self.stem.plain(self.channels, self.space.stem_width), nn.ReLU())
