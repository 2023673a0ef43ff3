"""Channel sorting: before subnets keep only the first channels, the most important ones must come first.

Importance of a middle channel is the L1 norm of the weights that read it, in an inverted bottleneck the projection's
(DεpS §3; OFA §3.1). The full model computes the same function afterwards. The optimizer's momentum is permuted with
the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dεps.nets.supernet import Supernet

Momentum = Callable[[nn.Parameter], Tensor | None]
#: "groups" keeps channels within their expand group, "all" sorts over the whole width
Scope = Literal["groups", "all"]


@torch.no_grad()
def sort_channels(net: Supernet, momentum: Momentum = lambda parameter: None, scope: Scope = "groups") -> None:
    """Sort every elastic block's middle channels, and SE hidden units, by importance, descending.

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

    for axis in net.body.sortable():
        order = _order(axis.reader.abs().sum((0, 2, 3)), axis.borders if scope == "groups" else [])
        for tensor, dim in axis.tensors:
            permute(tensor, dim, order)


def _order(importance: Tensor, borders: list[int]) -> Tensor:
    """Stable descending order, within [0, b0), [b0, b1), … and the rest."""
    edges = sorted({0, *borders, len(importance)})
    parts = [
        start + torch.argsort(importance[start:end], descending=True, stable=True)
        for start, end in itertools.pairwise(edges)
    ]
    return torch.cat(parts)
