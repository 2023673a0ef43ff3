"""Measures how long a process computes (trains, evaluates, fits), without start-up, files and bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Stopwatch:
    """Total seconds, and when the current measurement began, if one is running."""

    seconds = 0.0
    since: float | None = None


@contextmanager
def computing() -> Iterator[None]:
    """Count the time of a block, or of a decorated function, as computing; nested uses count once."""
    if _Stopwatch.since is not None:
        yield
        return
    _Stopwatch.since = time.perf_counter()
    try:
        yield
    finally:
        _Stopwatch.seconds += time.perf_counter() - _Stopwatch.since
        _Stopwatch.since = None


def computed() -> float:
    """Return the seconds that this process has computed so far."""
    return _Stopwatch.seconds
