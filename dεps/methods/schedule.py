"""Learning rate and ε ramp as pure functions of the step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule(ABC):
    """Linear warm-up to `base`, then what a subclass says.

    Attributes:
        base: the peak learning rate η0.
        steps: length in steps, warm-up included.
        warmup: steps of warm-up.
        start: global step at which the schedule begins.
        warmup_from: share of `base` from which the warm-up climbs.
    """

    base: float
    steps: int
    warmup: int = 0
    start: int = 0
    warmup_from: float = 0.0

    def __call__(self, step: int) -> float:
        """Learning rate at a global step."""
        t = step - self.start
        if t < self.warmup:
            return self.base * (self.warmup_from + (1.0 - self.warmup_from) * (t + 1) / self.warmup)
        return self.base * self.share((t - self.warmup) / max(1, self.steps - self.warmup))

    @abstractmethod
    def share(self, done: float) -> float:
        """Share of `base` when the share `done` in [0, 1) of the steps after the warm-up is over."""


class CosineSchedule(Schedule):
    """After the warm-up ½ base (1 + cos(π t / T)), by step, without a floor."""

    def share(self, done: float) -> float:
        """½ (1 + cos(π done))."""
        return 0.5 * (1.0 + math.cos(math.pi * done))


class LinearSchedule(Schedule):
    """After the warm-up a straight line to 0, by step: with a warm-up the triangle of short trainings.

    As in one-cycle trainings of a dozen epochs (arXiv 1708.07120; 2404.00498, §3).
    """

    def share(self, done: float) -> float:
        """1 - done."""
        return 1.0 - done


#: how the rate falls after the warm-up
Decay = Literal["cosine", "linear"]
DECAYS: dict[Decay, type[Schedule]] = {"cosine": CosineSchedule, "linear": LinearSchedule}

#: share of the peak below which BigNAS' rate does not fall (arXiv 2003.11142, §3.1), and share of the training after
#: which it gets there: 0.97 every 2.4 epochs does so after 236, of 360 epochs in the re-implementations
CONSTANT_ENDING, REACHED = 0.05, 0.656


class ExponentialSchedule(Schedule):
    """After the warm-up exponential decay, then a constant ending (BigNAS §3.1), stretched to the length in steps."""

    def share(self, done: float) -> float:
        """0.05 to the power of done / 0.656, at least 0.05."""
        return CONSTANT_ENDING ** min(1.0, done / REACHED)


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
Shape = Literal["linear", "cosine", "exponential", "step", "constant"]


@dataclass(frozen=True)
class EpsilonRamp:
    """Weight β of the subnets' losses after shrink start (DεpS §3.2, "E-shrinking").

    The gradient of a subnet is multiplied by β, so β·η is its effective learning rate. Over `steps` steps from
    `start` it climbs from ε to the full rate η(start + steps); then β = 1. In closed form
    β(t) = r(t) · η(start + steps) / η(t), with r in (0, 1] rising from `epsilon`, linearly in the paper.
    """

    schedule: Schedule
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
