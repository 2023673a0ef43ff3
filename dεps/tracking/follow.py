"""Passes trainings on to MLflow while they run, in a process of its own; `deps track` fills in what that missed.

It only reads what trainings write, so a dead or slow tracking server can neither stop them nor slow them down.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from dεps.core.console import warn
from dεps.core.process import begin, guarded
from dεps.tracking.address import reason, root, tracking_uri
from dεps.tracking.place import Work, works
from dεps.workspace.locks import attempt
from dεps.workspace.stage import STATE

#: seconds between two looks at the files; seconds of rest per second of work, and their limit
POLL, REST, LONGEST_REST = 1.0, 10.0, 30.0
#: seconds until the next attempt while MLflow fails: first, and their limit
PAUSE, LONGEST_PAUSE = 30.0, 600.0
#: increment of a follower's nice value, so that trainings come first
NICE = 10


def follow(uri: str | None = None, is_over: Callable[[], bool] = lambda: False) -> None:
    """Follow trainings in this working copy, and in its copies in DVC's queue, until `is_over`; one process at a time.

    If MLflow fails, warn once and keep trying, less and less often.
    """
    while not is_over():
        with attempt(root() / STATE / "follow.lock", POLL) as free:
            if free:
                return _follow(uri or tracking_uri(), is_over)


def _follow(uri: str, is_over: Callable[[], bool]) -> None:
    while not any(work.is_running for work in works()):
        if is_over():
            return
        time.sleep(POLL)
    # MLflow takes a quarter of a gigabyte: import it only when there is something to do.
    from dεps.tracking.runs import log_system, pass_on
    from dεps.tracking.store import FAILURES, BusyError, Session
    from dεps.tracking.system import SystemMetrics

    session, passed, pause, warned = Session(uri), dict[Work, object](), PAUSE, False
    system = SystemMetrics()
    while not is_over():
        running = [work for work in works() if work.is_running]
        system.look(bool(running))
        now, started = {work: _state(work) for work in works()}, time.monotonic()
        news = [work for work, state in now.items() if passed.get(work) != state]
        rest = POLL
        try:
            if news:
                session.do(partial(pass_on, works=news), POLL)
                passed, pause, warned = now, PAUSE, False
                rest = max(POLL, min(LONGEST_REST, REST * (time.monotonic() - started)))
            if values := system.due():
                at = int(time.time() * 1000)
                session.do(partial(log_system, works=running, values=values, now=at), POLL)
        except BusyError:
            pass
        except FAILURES as error:
            if not warned:
                warn(f"MLflow is not followed ({reason(error, uri)}); 'deps track' completes its store")
            rest, pause, warned = pause, min(2 * pause, LONGEST_PAUSE), True
        _wait(rest, is_over)


def _state(work: Work) -> object:
    """Return something that changes whenever there is news to pass on."""
    with suppress(OSError):  # a copy in DVC's queue was removed
        file = work.live.stat()
        return file.st_mtime_ns, file.st_size, work.is_running
    return None


def _wait(seconds: float, is_over: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not is_over() and time.monotonic() < until:
        time.sleep(min(POLL, seconds))


def main() -> None:
    """Follow as long as the process that started this one lives; its number is the argument."""
    begin()
    parent = int(sys.argv[1])
    os.nice(NICE)
    with suppress(KeyboardInterrupt):  # the parent gets it too
        guarded(lambda: follow(is_over=lambda: os.getppid() != parent), lambda error: None)


if __name__ == "__main__":
    main()
