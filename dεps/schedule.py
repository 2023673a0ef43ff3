"""Learning rate and ε ramp as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up to `base`, then ½ base (1 + cos(π t / T)), by step, without a floor.

    Attributes:
        base: the peak learning rate η0.
        steps: length in steps, warm-up included.
        warmup: steps of warm-up.
        start: global step at which the schedule begins.
    """

    base: float
    steps: int
    warmup: int = 0
    start: int = 0

    def __call__(self, step: int) -> float:
        """Learning rate at a global step."""
        t = step - self.start
        if t < self.warmup:
            return self.base * (t + 1) / self.warmup
        return 0.5 * self.base * (1.0 + math.cos(math.pi * (t - self.warmup) / max(1, self.steps - self.warmup)))


#: steepness of the exponential ramp: at half the ramp it has climbed 1 / (1 + e^2.5), about a thirteenth
_STEEPNESS = 5.0

#: share of the way from ε to the full rate that is done after the share u in (0, 1] of the ramp
SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda u: u,
    "cosine": lambda u: 0.5 * (1.0 - math.cos(math.pi * u)),
    "exponential": lambda u: math.expm1(_STEEPNESS * u) / math.expm1(_STEEPNESS),
    "step": lambda u: 1.0 if u >= 1.0 else 0.0,
}
#: "constant" stays at ε to the end of training
SHAPE_NAMES = (*SHAPES, "constant")


@dataclass(frozen=True)
class EpsilonRamp:
    """Weight β of the subnets' losses after shrink start (DεpS §3.2, "E-shrinking").

    The gradient of a subnet is multiplied by β, so β·η is its effective learning rate. Over `steps` steps from
    `start` it climbs from ε to the full rate η(start + steps); then β = 1. In closed form
    β(t) = r(t) · η(start + steps) / η(t), with r in (0, 1] rising from `epsilon`, linearly in the paper.
    """

    schedule: CosineSchedule
    start: int
    steps: int
    epsilon: float = 0.0
    shape: str = "linear"

    def __call__(self, step: int) -> float:
        """β at a global step not before `start`."""
        if self.shape == "constant":
            return self.epsilon
        done = step - self.start + 1
        if done > self.steps:
            return 1.0
        r = self.epsilon + (1.0 - self.epsilon) * SHAPES[self.shape](done / self.steps)
        end = min(self.start + self.steps, self.schedule.start + self.schedule.steps - 1)
        rate = self.schedule(step)
        # In the last of very many steps the cosine is -1 to the last bit.
        return r * self.schedule(end) / rate if rate else r
