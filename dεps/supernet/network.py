"""The supernet: one weight-shared network built from a `SearchSpace`, run as any of its archs.

The arch is an argument of `forward`, not a state of the network: two archs can never be mixed up, and a step that
trains four subnets is four calls.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dεps.search_space import Arch, BlockSpec, SearchSpace, Stage
from dεps.supernet.layers import (
    ElasticBatchNorm,
    ElasticConv,
    ElasticDepthwise,
    ElasticSqueezeExcite,
    activate,
)


class ElasticBlock(nn.Module):
    """Inverted bottleneck (1×1-BN-act, depthwise-BN-act-SE, 1×1-BN) that runs as any smaller `BlockSpec`."""

    def __init__(self, largest: BlockSpec, kernels: list[int], kernel_transform: bool) -> None:
        super().__init__()
        self.largest = largest
        if largest.expansion:
            self.expand = ElasticConv(largest.inputs, largest.mid)
            self.expand_bn = ElasticBatchNorm(largest.mid)
        self.depthwise = ElasticDepthwise(largest.mid, kernels, largest.stride, kernel_transform)
        self.depthwise_bn = ElasticBatchNorm(largest.mid)
        if largest.se:
            self.se = ElasticSqueezeExcite(largest.mid, largest.se)
        self.project = ElasticConv(largest.mid, largest.outputs)
        self.project_bn = ElasticBatchNorm(largest.outputs)

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        y = x
        if spec.expansion:
            y = activate(self.expand_bn(self.expand(y, spec.mid)), spec.act)
        y = activate(self.depthwise_bn(self.depthwise(y, spec.kernel)), spec.act)
        if spec.se:
            y = self.se(y, spec.se)
        y = self.project_bn(self.project(y, spec.outputs))
        return x + y if spec.skip else y


class Supernet(nn.Module):
    """All weights of a search space.

    Args:
        space: the space that `forward` accepts archs from.
        classes: number of classes.
        channels: number of input channels.
        kernel_transform: learn a linear map for each smaller kernel (OFA, RSS) instead of a plain centre crop.
        seed: decides the initial weights (He, fan out), independently of any global generator.
    """

    def __init__(
        self, space: SearchSpace, classes: int, channels: int = 3, kernel_transform: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.choices = space  # the archs worth asking for; a method may train only a part of the space
        self.space, self.classes, self.channels, self.kernel_transform = space, classes, channels, kernel_transform
        stem, head = space.stem, space.head
        self.stem = nn.Conv2d(channels, stem.width, 3, stem.stride, 1, bias=False)
        self.stem_bn = ElasticBatchNorm(stem.width)
        specs = list(space.blocks(space.largest()))
        kernels = [[3]] + [stage.kernel for stage in space.stages for _ in range(stage.depth[-1])]
        self.blocks = nn.ModuleList(
            ElasticBlock(spec, sizes, kernel_transform) for spec, sizes in zip(specs, kernels, strict=True)
        )
        self.final = ElasticConv(specs[-1].outputs, head.expand)
        self.final_bn = ElasticBatchNorm(head.expand)
        if head.features:
            self.mix = ElasticConv(head.expand, head.features)
        self.classifier = nn.Linear(head.features or head.expand, classes)
        self._initialise(seed)
        self.to(memory_format=torch.channels_last)

    def _initialise(self, seed: int) -> None:
        generator = Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if "transforms" in name:
                continue
            if parameter.dim() == 4:
                fan_out = parameter.shape[0] * parameter.shape[2] * parameter.shape[3]
                nn.init.normal_(parameter, 0.0, math.sqrt(2.0 / fan_out), generator=generator)
            elif name == "classifier.weight":
                bound = 1.0 / math.sqrt(parameter.shape[1])
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def stage_of(self, block: int) -> Stage:
        """The stage that the elastic block number `block` (from 1) belongs to."""
        for stage in self.space.stages:
            block -= stage.depth[-1]
            if block <= 0:
                return stage
        raise IndexError("the space has fewer blocks")

    def forward(self, x: Tensor, arch: Arch, dropout: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width) under `arch`.

        Dropout before the classifier is applied where `dropout` > 0, drawn from `generator`.
        """
        x = activate(self.stem_bn(self.stem(x)), self.space.stem.act)
        for spec in self.space.blocks(arch):
            x = self.blocks[spec.index](x, spec)
        x = activate(self.final_bn(self.final(x, self.space.head.expand)), self.space.head.act)
        x = x.mean((2, 3), keepdim=True)
        if self.space.head.features:
            x = activate(self.mix(x, self.space.head.features), self.space.head.act)
        x = x.flatten(1)
        if dropout > 0.0:
            keep = torch.rand(x.shape, generator=generator, device=x.device) >= dropout
            x = x * keep / (1.0 - dropout)
        return F.linear(x, self.classifier.weight, self.classifier.bias)
