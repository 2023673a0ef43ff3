"""Finds the distinct layers of a space, which the latency of every arch is made of."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from dεps.nets.extract import stretches
from dεps.nets.supernet import Supernet
from dεps.spaces.encoding import alike
from dεps.spaces.space import Arch, SearchSpace

#: shape of one image, or of what a layer makes of it; without the batch
Shape = tuple[int, ...]


class Kind(NamedTuple):
    """A stretch of layers and the shape that it reads; equal kinds take equally long, wherever they stand."""

    key: Hashable
    inputs: Shape

    def __str__(self) -> str:
        key, fields = self.key, self.key if isinstance(self.key, tuple) else ()
        text = f"{type(key).__name__} {' '.join(map(str, fields))}" if fields else str(key)
        return f"{text} of {'×'.join(map(str, self.inputs))}"


class Layers:
    """Kinds of layers of a supernet's archs, each built once, when it is first met, to learn its output's shape."""

    def __init__(self, net: Supernet) -> None:
        self.net = net.eval()
        self.built: dict[Kind, nn.Module] = {}
        self._outputs: dict[Kind, Shape] = {}

    def kinds(self, arch: Arch) -> Iterator[Kind]:
        """Kinds that `arch` is made of, in the order of computation."""
        shape: Shape = (self.net.channels, arch.resolution, arch.resolution)
        for stretch in stretches(self.net, arch):
            kind = Kind(stretch.kind, shape)
            if kind not in self.built:
                with torch.no_grad():
                    self.built[kind] = stretch.build().eval().to(memory_format=torch.channels_last)
                    self._outputs[kind] = tuple(self.built[kind](torch.zeros(1, *kind.inputs)).shape[1:])
            yield kind
            shape = self._outputs[kind]

    def meet_all(self) -> None:
        """Build every kind that an arch of the space can have."""
        for arch in _everywhere_alike(self.net.space):
            for _ in self.kinds(arch):
                pass


def _everywhere_alike(space: SearchSpace) -> Iterator[Arch]:
    """Archs whose blocks all choose alike: as a block depends on nothing else, together they have every kind."""
    kernels = max(len(stage.kernel) for stage in space.stages)
    expands = max(len(stage.expand) for stage in space.stages)
    counts = (len(space.resolution), *map(len, space.width_choices), kernels, expands)
    for choice in itertools.product(*map(range, counts)):
        yield from (alike(space, choice, deepest) for deepest in (True, False))
