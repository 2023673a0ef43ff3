"""Describes what a method would train: its phases, and the cost of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class PhasePlan:
    """One phase of one method; `start` and `end` are epochs, counted from 0."""

    name: str
    start: float
    end: float
    #: number of networks that a step trains, the full model included
    subnets: int
    macs: int
    #: standard error of `macs`; 0 where every step was counted
    error: float
    #: whether the full model learns in every step, beside or without subnets
    full: bool
    #: whether a frozen full model teaches
    teacher: bool
    #: weight of the subnets' losses: (epoch, weight), from start to end; empty where no subnet learns
    weights: tuple[tuple[float, float], ...]
    seconds: float | None = None

    @property
    def epochs(self) -> float:
        """Length of the phase."""
        return self.end - self.start


@dataclass(frozen=True)
class MethodPlan:
    """The phases of one method, including the full model's training that it branches from."""

    method: str
    phases: tuple[PhasePlan, ...]
    #: number of leading epochs that a kept state of the trunk saves
    branch: float = 0.0

    @property
    def epochs(self) -> float:
        """Length of the whole training."""
        return self.phases[-1].end

    @property
    def macs(self) -> int:
        """Training cost in MACs, of every forward and backward."""
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
