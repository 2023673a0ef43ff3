"""Two ways of doing the same work, timed in turn, so that whatever else the machine does hits both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """Seconds of each round of both ways."""

    work: str
    ours: list[float]
    theirs: list[float]
    against: str
    #: ours / theirs, or theirs / ours where faster is told as a factor
    limit: float
    #: whether the ratio is told as how much faster we are
    speedup: bool = False
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median over rounds of the ratio of neighbours in time, which drifts less than the ratio of medians."""
        pairs = np.asarray(self.theirs) / self.ours if self.speedup else np.asarray(self.ours) / self.theirs
        return float(np.median(pairs))

    @property
    def reached(self) -> bool:
        """Whether the limit is kept."""
        return self.ratio >= self.limit if self.speedup else self.ratio <= self.limit


def in_turn(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, warmup: int = 1
) -> tuple[list[float], list[float]]:
    """Seconds of each round; who begins changes every round."""
    for _ in range(warmup):
        ours()
        theirs()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for own in (True, False) if number % 2 == 0 else (False, True):
            started = time.perf_counter()
            (ours if own else theirs)()
            seconds[own].append(time.perf_counter() - started)
    return seconds[True], seconds[False]
