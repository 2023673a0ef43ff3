"""Passes trainings on to MLflow while they run, from a process of its own.

It reads what they write, and they do not know of it: a dead or slow tracking server can neither stop nor slow them.
What it misses, `deps track` fills in.
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

#: seconds between two looks at the files; seconds that it rests per second of work, and at most
POLL, REST, LONGEST_REST = 1.0, 10.0, 30.0
#: seconds between two attempts while MLflow fails: at first, and at most
PAUSE, LONGEST_PAUSE = 30.0, 600.0
#: how much a process that follows gives way to those that compute
NICE = 10


def follow(uri: str | None = None, is_over: Callable[[], bool] = lambda: False) -> None:
    """Follow trainings of this working copy, and of its copies in DVC's queue, until `is_over`.

    One process follows at a time; others wait until it ends. When MLflow fails it warns once and tries again now and
    then.
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
    # What takes a quarter of a gigabyte is not imported before there is something to do.
    from dεps.tracking.runs import pass_on
    from dεps.tracking.store import FAILURES, BusyError, Session

    session, passed, pause, warned = Session(uri), dict[Work, object](), PAUSE, False
    while not is_over():
        now, started = {work: _state(work) for work in works()}, time.monotonic()
        news = [work for work, state in now.items() if passed.get(work) != state]
        rest = POLL
        try:
            if news:
                session.do(partial(pass_on, works=news), POLL)
                passed, pause, warned = now, PAUSE, False
                rest = max(POLL, min(LONGEST_REST, REST * (time.monotonic() - started)))
        except BusyError:
            pass
        except FAILURES as error:
            if not warned:
                warn(f"MLflow is not followed ({reason(error, uri)}); 'deps track' completes its store")
            rest, pause, warned = pause, min(2 * pause, LONGEST_PAUSE), True
        _wait(rest, is_over)


def _state(work: Work) -> object:
    """What changes whenever there is something to pass on."""
    with suppress(OSError):  # a copy of DVC's that is gone
        file = work.live.stat()
        return file.st_mtime_ns, file.st_size, work.is_running
    return None


def _wait(seconds: float, is_over: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not is_over() and time.monotonic() < until:
        time.sleep(min(POLL, seconds))


def main() -> None:
    """Follow as long as the process lives that has started this one, whose number is the argument."""
    begin()
    parent = int(sys.argv[1])
    os.nice(NICE)
    with suppress(KeyboardInterrupt):  # it reaches the parent too
        guarded(lambda: follow(is_over=lambda: os.getppid() != parent), lambda error: None)


if __name__ == "__main__":
    main()
