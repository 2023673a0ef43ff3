"""The supernet: one weight-shared network built from a `SearchSpace`, run as any of its archs.

The arch is an argument of `forward`, not a state of the network: two archs can never be mixed up, and a step that
trains four subnets is four calls. The layers are those of the space's family, `dεps/nets/<family>/network.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dεps.core.errors import UserError
from dεps.nets import operators
from dεps.nets.family import Body, HasShortcut
from dεps.nets.layers import ElasticBatchNorm, ElasticDepthwise, slice_of
from dεps.spaces.space import Arch, SearchSpace, family_module


class Supernet(nn.Module):
    """All weights of a search space.

    Args:
        space: the space whose archs `forward` accepts.
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
        self.body: Body = family_module(space.family, "network").Body(space, channels, kernel_transform)
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

        With `dropout` > 0, that share of the features is dropped before the classifier, drawn from `generator`. The
        images may have another size than `arch.resolution`.
        """
        return self.classify(self.body(x, arch), dropout, generator)

    def classify(self, x: Tensor, dropout: float = 0.0, generator: Generator | None = None) -> Tensor:
        """Logits (batch, classes) of the body's features (batch, features); see `forward`."""
        if dropout > 0.0:
            keep = torch.rand(x.shape, generator=generator, device=x.device) >= dropout
            x = x * keep / (1.0 - dropout)
        return F.linear(x, slice_of(self.classifier.weight, self.classes, x.shape[1]), self.classifier.bias)

    def use_native_operators(self) -> None:
        """Train with the code of `dεps.nets.operators` where it is faster; in eval mode, and extracted, all is torch's.

        Raises `UserError` where that code can't be built.
        """
        operators.build()
        for module in self.modules():
            if isinstance(module, ElasticBatchNorm | ElasticDepthwise):
                module.native = True

    def check_arch(self, arch: Arch) -> None:
        """Raise `UserError` unless `arch` is one of the space, at any resolution: other slices fit nothing."""
        if not isinstance(arch, Arch):
            raise UserError(f"{arch!r} is a {type(arch).__name__}; expected an Arch, such as space.named('smallest')")
        if arch.at(self.space.resolution[0]) not in self.space:
            raise UserError(
                f"{arch} is no arch of the space {self.space.name}; expected one such as {self.space.smallest()}"
            )

    def residual_scales(self) -> Iterator[nn.Parameter]:
        """γ of the last BN of each block with a shortcut: at zero, such a block is its shortcut alone."""
        for module in self.modules():
            if isinstance(module, HasShortcut) and (scale := module.residual_scale()) is not None:
                yield scale
