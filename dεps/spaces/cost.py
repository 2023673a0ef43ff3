"""Counts MACs and parameters of an arch from its geometry, without building it.

MACs (multiply-accumulates; the papers' "FLOPs") are those of convolutions and linear layers, squeeze-and-excite
included; BN, activations and pooling are free.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from dεps.spaces.space import Arch, Layer, SearchSpace

#: cost of forward and backward, which takes twice as much, in forward passes
FORWARD_BACKWARD = 3


class Cost(NamedTuple):
    """Cost of one arch on one image."""

    macs: int
    params: int


def arch_cost(space: SearchSpace, arch: Arch, classes: int, channels: int = 3) -> Cost:
    """MACs of one forward pass and trainable parameters of the extracted subnet, for images of `channels` channels."""
    macs = params = 0
    for layer in space.layers(arch, classes, channels):
        macs += layer.macs
        params += params_of(layer)
    return Cost(macs, params)


def params_of(layer: Layer) -> int:
    """Trainable parameters of a layer with its BN."""
    return layer.weights + layer.outputs * (2 * layer.bn + layer.bias)


def macs_counter(space: SearchSpace, classes: int, channels: int = 3) -> Callable[[Arch], int]:
    """Function that returns the MACs of an arch and remembers them."""
    return cache(lambda arch: arch_cost(space, arch, classes, channels).macs)
