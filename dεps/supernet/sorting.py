"""Channel sorting: before subnets keep only the first channels, the most important ones must come first.

Importance of a middle channel is the L1 norm of the projection's weights that read it (DεpS §3; OFA §3.1). The full
model computes the same function afterwards. The optimizer's momentum is permuted with the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dεps.search_space import middle_width, squeeze_width
from dεps.supernet.network import Supernet

Momentum = Callable[[nn.Parameter], Tensor | None]
#: "groups" keeps channels within their expand group, "all" sorts over the whole width
Scope = Literal["groups", "all"]


@torch.no_grad()
def sort_channels(net: Supernet, momentum: Momentum = lambda parameter: None, scope: Scope = "groups") -> None:
    """Sort every elastic block's middle channels, then its SE hidden units, by importance, descending.

    Args:
        net: changed in place.
        momentum: gives the optimizer's momentum buffer of a parameter, or None.
        scope: "groups" sorts within the groups that stay nested when several expand ratios shrink at once, for
            E {3,4,6} within [0, width(4)) and [width(4), width(6)); "all" sorts globally, as OFA does on entering
            its first expand phase.
    """

    def permute(tensor: Tensor, dim: int, order: Tensor) -> None:
        tensors = [tensor]
        if isinstance(tensor, nn.Parameter) and (buffer := momentum(tensor)) is not None:
            tensors.append(buffer)
        for each in tensors:
            each.copy_(each.index_select(dim, order))

    for number, block in enumerate(net.blocks):
        if not block.largest.expansion:
            continue
        stage = net.stage_of(number)
        # Every expand ratio but the smallest is a border that sorting must not cross: the smallest shrinks out of
        # the next one's leading channels, so those may mix, while later groups must stay behind it.
        borders = [middle_width(block.largest.inputs, ratio) for ratio in stage.expand[1:]] if scope == "groups" else []
        importance = block.project.weight.abs().sum((0, 2, 3))
        order = _order(importance, borders)
        for tensor in (block.expand.weight, block.depthwise.weight, *_bn(block.expand_bn), *_bn(block.depthwise_bn)):
            permute(tensor, 0, order)
        permute(block.project.weight, 1, order)
        if block.largest.se:
            se = block.se
            permute(se.reduce_weight, 1, order)
            permute(se.expand_weight, 0, order)
            permute(se.expand_bias, 0, order)
            hidden = se.expand_weight.abs().sum((0, 2, 3))
            borders = (
                [squeeze_width(middle_width(block.largest.inputs, ratio)) for ratio in stage.expand[1:]]
                if scope == "groups"
                else []
            )
            order = _order(hidden, borders)
            permute(se.reduce_weight, 0, order)
            permute(se.reduce_bias, 0, order)
            permute(se.expand_weight, 1, order)


def _bn(layer: nn.Module) -> tuple[Tensor, ...]:
    return layer.weight, layer.bias, layer.running_mean, layer.running_var


def _order(importance: Tensor, borders: list[int]) -> Tensor:
    """Stable descending order, within [0, b0), [b0, b1), … and the rest."""
    edges = sorted({0, *borders, len(importance)})
    parts = [
        start + torch.argsort(importance[start:end], descending=True, stable=True)
        for start, end in itertools.pairwise(edges)
    ]
    return torch.cat(parts)
