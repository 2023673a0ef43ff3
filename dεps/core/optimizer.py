"""torch's optimisers, without importing torch's compiler on first use, which takes each process a second."""

from __future__ import annotations

from inspect import unwrap

import torch


class _Plain:
    """The methods without the wrappers that keep them out of compiled code: none is compiled here."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class SGD(_Plain, torch.optim.SGD):
    """`torch.optim.SGD`."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(_Plain, torch.optim.Adam):
    """`torch.optim.Adam`."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))
