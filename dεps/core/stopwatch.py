"""How long a process has been computing: training, evaluating, fitting; without its start, files and bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Stopwatch:
    """Seconds in all, and since when it runs, while it does."""

    seconds = 0.0
    since: float | None = None


@contextmanager
def computing() -> Iterator[None]:
    """Around pure work, also as a decorator; inside itself it does nothing."""
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
    """Seconds so far of this process."""
    return _Stopwatch.seconds
