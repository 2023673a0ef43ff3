"""MACs and parameters of an arch in closed form, and the training cost of a schedule.

MACs (the papers' "FLOPs") count convolutions and linear layers, squeeze-and-excite included; BN, activations and
pooling are free. A training step costs three forward passes: one forward, and twice that for the backward.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from dεps.search_space import Arch, BlockSpec, SearchSpace

#: forward + backward, in units of one forward pass
FORWARD_BACKWARD = 3


class Cost(NamedTuple):
    """Cost of one arch on one image."""

    macs: int
    params: int


def arch_cost(space: SearchSpace, arch: Arch, classes: int, channels: int = 3) -> Cost:
    """MACs of one forward pass and trainable parameters of the extracted subnet.

    `channels` is the number of input channels. Kernel transformation adds nothing: it is applied at extraction.
    """
    size = strided(arch.resolution, space.stem.stride)
    stem = 9 * channels * space.stem.width
    macs, params = stem * size * size, stem + 2 * space.stem.width
    for block in space.blocks(arch):
        block_macs, block_params = _block_cost(block, size)
        macs, params = macs + block_macs, params + block_params
        size = strided(size, block.stride)
    head = block.outputs * space.head.expand
    features = space.head.features
    mix = space.head.expand * features
    classifier = (features or space.head.expand) * classes
    macs += head * size * size + mix + classifier
    params += head + 2 * space.head.expand + mix + classifier + classes
    return Cost(macs, params)


def macs_counter(space: SearchSpace, classes: int, channels: int = 3) -> Callable[[Arch], int]:
    """A function that gives the MACs of an arch and remembers them."""
    return cache(lambda arch: arch_cost(space, arch, classes, channels).macs)


def _block_cost(block: BlockSpec, size: int) -> tuple[int, int]:
    after = strided(size, block.stride)
    expand = block.inputs * block.mid if block.expansion else 0
    depthwise = block.kernel**2 * block.mid
    project = block.mid * block.outputs
    squeeze = 2 * block.mid * block.se
    macs = expand * size * size + (depthwise + project) * after * after + squeeze
    params = expand + depthwise + project + squeeze + 2 * (block.mid + block.outputs)
    params += 2 * block.mid if block.expansion else 0
    params += block.se + block.mid if block.se else 0
    return macs, params


def strided(size: int, stride: int) -> int:
    """Side of the feature map after a "same"-padded convolution."""
    return -(-size // stride)
