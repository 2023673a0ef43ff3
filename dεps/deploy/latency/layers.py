"""The distinct layers of a space: what an arch's latency is made of."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from dεps.nets.extract import stretches
from dεps.nets.family import Stretch
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch, SearchSpace

#: of one image
Shape = tuple[int, ...]


class Kind(NamedTuple):
    """A stretch of layers, and what it reads; equal kinds take equally long, wherever they stand."""

    key: Hashable
    inputs: Shape

    def __str__(self) -> str:
        key = self.key if isinstance(self.key, str) else f"{type(self.key).__name__} {' '.join(map(str, self.key))}"
        return f"{key} of {'×'.join(map(str, self.inputs))}"


class Layers:
    """The kinds of layers of archs of a supernet, whose weights stand for any.

    Each kind is built once, when it is first met, to learn the shape of what it gives.
    """

    def __init__(self, net: Supernet) -> None:
        self.net = net.eval()
        self.built: dict[Kind, nn.Module] = {}
        self._outputs: dict[Kind, Shape] = {}

    def kinds(self, arch: Arch) -> Iterator[Kind]:
        """Of `arch`, in the order of computation."""
        shape: Shape = (self.net.channels, arch.resolution, arch.resolution)
        for stretch in stretches(self.net, arch):
            kind = Kind(stretch.kind, shape)
            if kind not in self._outputs:
                self._meet(kind, stretch)
            yield kind
            shape = self._outputs[kind]

    def meet_all(self) -> None:
        """Build every kind that an arch of the space can have."""
        for arch in _everywhere_alike(self.net.space):
            for _ in self.kinds(arch):
                pass

    @torch.no_grad()
    def _meet(self, kind: Kind, stretch: Stretch) -> None:
        self.built[kind] = stretch.build().eval().to(memory_format=torch.channels_last)
        self._outputs[kind] = tuple(self.built[kind](torch.zeros(1, *kind.inputs)).shape[1:])


def _everywhere_alike(space: SearchSpace) -> Iterator[Arch]:
    """Archs with the same choice of kernel and expand in every block, at the least and the greatest depths.

    What a block is depends on its own choices and on what all blocks share, so together they have every kind.
    """
    kernels = range(max(len(stage.kernel) for stage in space.stages))
    expands = range(max(len(stage.expand) for stage in space.stages))
    shared = map(range, (len(space.resolution), *map(len, space.width_choices)))
    for *first, kernel, expand, deepest in itertools.product(*shared, kernels, expands, (True, False)):
        genome = list(first)
        for stage in space.stages:
            pair = [min(kernel, len(stage.kernel) - 1), min(expand, len(stage.expand) - 1)]
            genome += [len(stage.depth) - 1 if deepest else 0, *(pair * stage.depth[-1])]
        yield space.from_genome(genome)
