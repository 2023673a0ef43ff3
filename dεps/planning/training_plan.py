"""What a method would train: its phases, and what each costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PhasePlan:
    """One phase of one method; epochs count from 0."""

    name: str
    start: float
    end: float
    #: networks that a step trains, the full model among them
    subnets: int
    macs: int
    #: standard error of `macs`; 0 where every step was counted
    error: float
    #: the full model learns in every step, beside or without subnets
    full: bool
    #: a frozen full model teaches
    teacher: bool
    #: weight of the subnets' losses: (epoch, weight), from start to end; empty where no subnet learns
    weights: tuple[tuple[float, float], ...]
    seconds: float | None = None

    @property
    def epochs(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True)
class MethodPlan:
    """One method, the full model's training that it branches from included."""

    method: str
    phases: tuple[PhasePlan, ...]
    #: first epochs that a kept state of the trunk saves
    branch: float = 0.0

    @property
    def epochs(self) -> float:
        """All of them."""
        return self.phases[-1].end

    @property
    def macs(self) -> int:
        """Training cost: MACs of every forward and backward."""
        return sum(phase.macs for phase in self.phases)

    @property
    def seconds(self) -> float | None:
        """Predicted wall time of the steps; None where not measured."""
        return total(phase.seconds for phase in self.phases)


def total(values: Iterable[float | None]) -> float | None:
    """Sum of the values; None where one of them is not known."""
    known = list[float]()
    for value in values:
        if value is None:
            return None
        known.append(value)
    return sum(known)
