"""In which precision a training step computes: autocast, and for fp16 a loss scale that is part of the state."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_SCALER = "scaler"
#: of losses; it begins at 2¹⁶ and is halved at each overflow, so it comes here by about thirty of them in a row
LOWEST_SCALE = 1e-4


class Numerics:
    """Forward under `autocast()`, then `backward(loss)` for each loss, then `step(optimizer)`.

    Args:
        precision: "float32", "bf16" or "fp16". Weights, gradients and momentum are float32 in all.
        device: where the step computes.
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self.dtype, self.device = PRECISIONS[precision], device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def autocast(self) -> torch.autocast:
        """A context in which convolutions and linear layers compute in the lower precision."""
        return torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, scaled where fp16 needs it."""
        self.scaler.scale(loss).backward()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the weights; with fp16 a step whose gradients overflowed is left out, and the scale lowered."""
        self.scaler.step(optimizer)
        self.scaler.update()

    @property
    def overflows(self) -> bool:
        """Whether steps may overflow and are then left out: a loss that is not finite is no sign of divergence."""
        return self.scaler.is_enabled()

    @property
    def exhausted(self) -> bool:
        """Whether steps overflow however low the scale; waits for a GPU."""
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
