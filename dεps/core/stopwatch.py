"""Measures how long a process computes (trains, evaluates, fits), without start-up, files and bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Stopwatch:
    """Total seconds, by the clock and of cores, and when the current measurement began, if one is running."""

    seconds = cores = 0.0
    since: tuple[float, float] | None = None


@contextmanager
def computing() -> Iterator[None]:
    """Count the time of a block, or of a decorated function, as computing; nested uses count once."""
    if _Stopwatch.since is not None:
        yield
        return
    began = _Stopwatch.since = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        _Stopwatch.seconds += time.perf_counter() - began[0]
        _Stopwatch.cores += time.process_time() - began[1]
        _Stopwatch.since = None


def computed() -> tuple[float, float]:
    """Return how long this process has computed so far: seconds by the clock, and seconds of cores."""
    return _Stopwatch.seconds, _Stopwatch.cores
