"""Makes the optimizer that all methods share: SGD with Nesterov momentum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dεps.core.optimizer import SGD
from dεps.nets.supernet import Supernet
from dεps.training.config import TrainConfig


def sgd(net: Supernet, config: TrainConfig) -> SGD:
    """SGD in three groups: weights, then BN and biases without weight decay, then kernel transformations.

    Gradients and momentum exist from the start, as zeros, so that weights that no subnet has used yet decay too.
    """
    groups: dict[str, list[nn.Parameter]] = {"weights": [], "biases": [], "transforms": []}
    for name, parameter in net.named_parameters():
        kind = "transforms" if ".transforms." in name else "weights" if parameter.dim() > 1 else "biases"
        groups[kind].append(parameter)
    optimizer = SGD(
        [
            {"params": groups["weights"], "weight_decay": config.weight_decay},
            {"params": groups["biases"], "weight_decay": 0.0},
            {"params": groups["transforms"], "weight_decay": config.weight_decay},
        ],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        foreach=True,
    )
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def momentum_of(optimizer: SGD, parameter: nn.Parameter) -> Tensor:
    """The momentum of one parameter, of its shape; written in place."""
    return optimizer.state[parameter]["momentum_buffer"]


def set_rate(optimizer: SGD, rate: float, transforms_decay: float) -> None:
    """Set the learning rate of all groups, and the weight decay of the kernel transformations."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.param_groups[-1]["weight_decay"] = transforms_decay
