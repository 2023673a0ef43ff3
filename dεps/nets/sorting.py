"""Channel sorting: subnets keep only the first channels, so the most important ones must come first.

The importance of a channel is the L1 norm of the weights that read it, in an inverted bottleneck those of the
projection (DεpS §3; OFA §3.1). Sorting leaves the function of the full model as it was. The optimizer's momentum is
permuted with the weights. Which channels can be sorted is said by the modules (`dεps.nets.family.Sortable`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from dεps.nets.family import Sortable, SortableAxis
from dεps.nets.supernet import Supernet

Momentum = Callable[[nn.Parameter], Tensor | None]


@torch.no_grad()
def sort_channels(
    net: Supernet, momentum: Momentum = lambda parameter: None, scope: Literal["groups", "all"] = "groups"
) -> None:
    """Sort the middle channels of every elastic block, and SE hidden units, by descending importance.

    Args:
        net: changed in place.
        momentum: gives the optimizer's momentum buffer of a parameter, or None.
        scope: "groups" sorts within the groups that stay nested when several expand ratios shrink at once, for
            E {3,4,6} within [0, width(4)) and [width(4), width(6)); "all" sorts globally, as OFA does on entering
            its first expand phase.
    """
    for axis in sortable_axes(net):
        order = _order(axis.reader.abs().sum((0, 2, 3)), axis.borders if scope == "groups" else [])
        for tensor, dim in axis.tensors:
            buffer = momentum(tensor) if isinstance(tensor, nn.Parameter) else None
            for each in (tensor,) if buffer is None else (tensor, buffer):
                each.copy_(each.index_select(dim, order))


def sortable_axes(net: nn.Module) -> Iterator[SortableAxis]:
    """Every axis of the network that can be sorted; each must be sorted before the next one is asked for."""
    for module in net.modules():
        if isinstance(module, Sortable):
            yield from module.sortable()


def _order(importance: Tensor, borders: list[int]) -> Tensor:
    """Channels by descending importance (channels,), stably, within [0, b0), [b0, b1), … and the rest."""
    starts = sorted({0, *borders} - {len(importance)})
    groups = zip(starts, importance.tensor_split(starts[1:]), strict=True)
    return torch.cat([start + group.argsort(descending=True, stable=True) for start, group in groups])
