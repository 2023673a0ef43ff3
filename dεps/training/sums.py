"""Collects the losses of an epoch, which become its record; they are part of a training state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dεps.methods.base import Term

FULL, SUBNETS, WEIGHT = "train/loss_full", "train/loss_subnets", "train/subnet_weight"


class Sums:
    """Losses of an epoch so far, those of the full model and of subnets apart, and the subnets' last weight."""

    def __init__(self) -> None:
        self.losses: dict[str, list[Tensor]] = {}
        self.weight = 0.0

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], device: torch.device) -> Sums:
        """Take over what `state` gave, from among other tensors."""
        sums = cls()
        for name, values in tensors.items():
            if name.startswith("losses."):
                sums.losses[name.removeprefix("losses.")] = list(values.to(device).unbind())
        if "subnet_weight" in tensors:
            sums.weight = float(tensors["subnet_weight"])
        return sums

    def state(self) -> dict[str, Tensor]:
        """Finite losses (steps,) by kind, and the weight float64; empty at the beginning of an epoch."""
        if not self:
            return {}
        state = {f"losses.{key}": _finite(values) for key, values in self.losses.items()}
        return state | {"subnet_weight": torch.tensor(self.weight, dtype=torch.float64)}

    def __bool__(self) -> bool:
        return bool(self.losses)

    def add(self, term: Term, loss: Tensor) -> None:
        """Add the loss of one term of a step; a GPU is not waited for."""
        self.losses.setdefault(FULL if term.full else SUBNETS, []).append(loss)
        self.weight = term.weight

    def finite(self) -> bool:
        """Whether all losses are finite; waits for a GPU."""
        return all(len(_finite(values)) == len(values) for values in self.losses.values())

    def means(self) -> dict[str, Any]:
        """Mean loss by kind, and the last weight where subnets were trained."""
        means = {key: round(float(_finite(values).mean()), 6) for key, values in self.losses.items()}
        return {**means, WEIGHT: round(self.weight, 6)} if SUBNETS in means else means


def _finite(losses: list[Tensor]) -> Tensor:
    """The losses of steps that counted: fp16 skips steps that overflow."""
    values = torch.stack(losses) if losses else torch.empty(0)
    return values[values.isfinite()]
