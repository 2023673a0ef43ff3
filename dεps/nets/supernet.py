"""The supernet: one weight-shared network built from a `SearchSpace`, run as any of its archs.

The arch is an argument of `forward`, not a state of the network: two archs can never be mixed up, and a step that
trains four subnets is four calls. What a family's layers are is said in a module of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dεps.nets.layers import ElasticBatchNorm, SortableAxis, Stretch, part
from dεps.nets.mobilenet.network import MobileNetBody
from dεps.nets.resnet.network import ResNetBody
from dεps.spaces.space import Arch, SearchSpace


class Body(Protocol):
    """A family's network without the classifier."""

    features: int  # of the largest arch

    def __call__(self, x: Tensor, arch: Arch) -> Tensor:
        """Images (batch, channels, height, width) to features (batch, features of `arch`)."""
        ...

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """The same as ordinary layers with weights of their own, one stretch after the other."""
        ...

    def sortable(self) -> Iterator[SortableAxis]:
        """All channels whose order is free; the caller permutes each before it asks for the next."""
        ...

    def residual_norms(self) -> Iterator[ElasticBatchNorm]:
        """The last BN of each residual block."""
        ...


BODIES = {"mobilenet": MobileNetBody, "resnet": ResNetBody}


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
        self.body: Body = BODIES[space.family](space, channels, kernel_transform)
        self.classifier = nn.Linear(self.body.features, classes)
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

    def forward(self, x: Tensor, arch: Arch, dropout: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Logits (batch, classes) of images (batch, channels, height, width) under `arch`.

        Dropout before the classifier is applied where `dropout` > 0, drawn from `generator`. The size of the images
        need not be `arch.resolution`.
        """
        return self.classify(self.body(x, arch), dropout, generator)

    def classify(self, x: Tensor, dropout: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Logits (batch, classes) of what the body gave; see `forward`."""
        if dropout > 0.0:
            keep = torch.rand(x.shape, generator=generator, device=x.device) >= dropout
            x = x * keep / (1.0 - dropout)
        return F.linear(x, part(self.classifier.weight, self.classes, x.shape[1]), self.classifier.bias)
