"""Describes what a method would train: its phases, and the cost of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dεps.report.phases import Bar, Span


@dataclass(frozen=True, kw_only=True)
class PhasePlan(Span):
    """One phase of one method, and what it costs."""

    macs: int
    #: standard error of `macs`; 0 where every step was counted
    error: float
    seconds: float | None = None


@dataclass(frozen=True)
class MethodPlan(Bar):
    """The phases of one method, including the full model's training that it branches from, and what they cost."""

    phases: tuple[PhasePlan, ...]
    #: number of leading epochs that a kept state of the trunk saves
    branch: float = 0.0

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
    values = list(values)
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
