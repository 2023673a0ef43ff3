"""torch's optimisers without what their first use imports: torch's compiler, a second of each process's start."""

from __future__ import annotations

from inspect import unwrap

import torch


class _Plain:
    """Their methods inside the wrappers that keep them out of compiled code, which never holds them here."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class SGD(_Plain, torch.optim.SGD):
    """`torch.optim.SGD`."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(_Plain, torch.optim.Adam):
    """`torch.optim.Adam`."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))
