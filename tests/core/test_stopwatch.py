import time

import pytest

from dεps.core import stopwatch
from dεps.core.stopwatch import computed, computing


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test lets pass, in half of which the process is busy."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: now[0] / 2)
    monkeypatch.setattr(stopwatch._Stopwatch, "seconds", 0.0)
    monkeypatch.setattr(stopwatch._Stopwatch, "cores", 0.0)
    return now


def test_only_what_is_inside_counts_and_counts_once(clock):
    @computing()
    def inner() -> None:
        clock[0] += 2

    with computing():
        clock[0] += 1
        inner()
    clock[0] += 10
    inner()
    assert computed() == (5, 2.5)


def test_a_failure_stops_it(clock):
    with pytest.raises(ValueError, match="no"), computing():
        clock[0] += 1
        raise ValueError("no")
    clock[0] += 1
    assert computed() == (1, 0.5)
