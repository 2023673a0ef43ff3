"""The phases of a training, by what a step trains: as the timeline draws them, and as a plan counts them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A phase, from one epoch to another; epochs count from 0."""

    name: str
    start: float
    end: float
    #: whether the full model learns in every step, beside or without subnets
    full: bool
    #: whether a frozen full model teaches
    teacher: bool
    #: weight of the subnets' losses, as corners (epoch, weight) from start to end; empty where no subnet learns
    weights: tuple[tuple[float, float], ...] = ()
    #: number of networks that a step trains, the full model included; None where not known
    subnets: int | None = None

    @property
    def epochs(self) -> float:
        """Length of the phase."""
        return self.end - self.start


@dataclass(frozen=True)
class Bar:
    """The phases of one method, including the full model's training that it branches from."""

    method: str
    phases: tuple[Span, ...]

    @property
    def epochs(self) -> float:
        """Length of the whole training."""
        return self.phases[-1].end
