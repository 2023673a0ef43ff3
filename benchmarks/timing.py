"""Two ways of doing the same work, timed in turn, so that whatever else the machine does hits both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: how a ratio is told: ours / theirs, which may be so large at most; theirs / ours, which must be so large at least,
#: as must ours / theirs where more is better
COST, SPEEDUP, GAIN = "cost", "speedup", "gain"


@dataclass(frozen=True)
class Comparison:
    """What each round of both ways took: seconds, or whatever `unit` says."""

    work: str
    ours: list[float]
    against: str
    theirs: list[float]
    limit: float
    kind: str = COST
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median over rounds of the ratio of neighbours in time, which drifts less than the ratio of medians."""
        ours, theirs = np.asarray(self.ours), np.asarray(self.theirs)
        return float(np.median(theirs / ours if self.kind == SPEEDUP else ours / theirs))

    @property
    def reached(self) -> bool:
        """Whether the limit is kept."""
        return self.ratio <= self.limit if self.kind == COST else self.ratio >= self.limit


def in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, warmup: int = 2
) -> tuple[list[float], list[float]]:
    """Seconds of each round; who begins changes every round."""
    for _ in range(warmup):
        ours()
        theirs()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for own in (True, False) if number % 2 == 0 else (False, True):
            seconds[own].append(seconds_of(ours if own else theirs))
    return seconds[True], seconds[False]


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
