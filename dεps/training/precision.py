"""Decides where and how precisely a step computes: device, autocast, and for fp16 a loss scale, part of the state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dεps.core.device import best_device
from dεps.core.errors import UserError
from dεps.training.config import TrainConfig

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_SCALER = "scaler"
#: a smaller scale of losses counts as exhausted: it begins at 2¹⁶, and about thirty overflows in a row halve it to here
LOWEST_SCALE = 1e-4


class Precision:
    """Precision of a step: forward under `autocast()`, then `backward(loss)` for each loss, then `step(optimizer)`.

    Args:
        name: "float32", "bf16" or "fp16"; weights, gradients and momentum are float32 in all of them.
        device: the device that computes.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.dtype, self.device = PRECISIONS[name], device
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> torch.autocast:
        """A context in which convolutions and linear layers compute in the lower precision."""
        return torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, scaled where fp16 needs it."""
        self.scaler.scale(loss).backward()

    def clip(self, optimizer: torch.optim.Optimizer, largest: float) -> None:
        """Cut off each element of all gradients beyond ±`largest`; after every `backward`, before `step`."""
        self.scaler.unscale_(optimizer)  # notes overflows, which are finite once they are cut off
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_value_(parameters, largest)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the weights; fp16 skips a step whose gradients overflowed, and lowers the scale."""
        self.scaler.step(optimizer)
        self.scaler.update()

    @property
    def overflows(self) -> bool:
        """Whether steps may overflow and are then skipped, so that a loss that is not finite is no divergence."""
        return self.scaler.is_enabled()

    @property
    def exhausted(self) -> bool:
        """Whether steps overflow even at the lowest scale; waits for a GPU."""
        return self.overflows and self.scaler.get_scale() < LOWEST_SCALE

    def state(self) -> dict[str, Tensor]:
        """Scale and steps since its last change, float64 (2,); empty without a scale."""
        if not self.scaler.is_enabled():
            return {}
        state = self.scaler.state_dict()
        return {_SCALER: torch.tensor([state["scale"], state["_growth_tracker"]], dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        if self.scaler.is_enabled():
            scale, tracker = tensors[_SCALER].tolist()
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)})


def device_of(config: TrainConfig) -> torch.device:
    """The device to train on. Raises `UserError` where there is no such device, or it lacks the precision."""
    device = torch.device("cpu") if config.device == "cpu" else best_device()
    if device.type == "cpu" and config.device == "cuda":
        raise UserError("train.device is 'cuda', but there is no GPU here; set auto or cpu")
    if device.type != "cpu" and config.operators == "native":
        raise UserError(
            "train.operators is 'native', which is for CPUs; set train.device to cpu, or operators to torch"
        )
    if device.type == "cpu" and config.precision == "fp16":
        raise UserError("train.precision is 'fp16', which needs a GPU; set float32 or bf16")
    emulated = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if emulated and config.precision == "bf16":
        raise UserError("train.precision is 'bf16', which this GPU has not; set float32 or fp16")
    return device
