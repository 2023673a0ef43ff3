"""A program that runs one item as `dvc repro --single-item` does; when its stdin ends, it ends the item.

Its stdin is a pipe from whoever started it, so the item ends too when that process is killed, and goes on later from
the work that it has saved. DVC itself is never interrupted, since it may be writing `dvc.lock`: only the processes that
it has started are.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, NoReturn

from dεps.core.console import complain
from dεps.workspace.locks import STATE, is_held, locked

if TYPE_CHECKING:
    from dεps.cli.parallel.dag import Command

#: seconds that a stage has to end after SIGTERM
GRACE = 20.0
#: of locks, which processes of items hold as long as they live
LOCKS = STATE / "repro"


@contextmanager
def lock_for(name: str) -> Iterator[int]:
    """Yield the descriptor of an item's lock, for its process to hold from its first moment to its last."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    lock = os.open(LOCKS / f"{name.replace('/', '_')}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def start(
    name: str, log: IO[bytes], environment: Mapping[str, str] | None = None, apart: bool = False
) -> subprocess.Popen[bytes]:
    """Start the program for an item, with its output in `log`, and `apart` in a session of its own."""
    with lock_for(name) as lock:
        return subprocess.Popen(
            [sys.executable, "-m", "dεps.cli.parallel.item", name],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=apart,
            pass_fds=[lock],
        )


def wait_for_others() -> None:
    """Wait until no item runs that an earlier process has started, which was killed."""
    running = [path for path in sorted(LOCKS.glob("*.lock")) if is_held(path)]
    if running:
        complain(f"waiting for what an earlier 'deps repro' has started: {', '.join(path.stem for path in running)}")
    for path in running:
        with locked(path):
            pass


def run(name: str, command: Command = lambda *_: None) -> NoReturn:
    """Run an item, and exit as DVC does; `command` may run its commands, where it returns their exit codes."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):  # the last one is of submitit, when time runs out
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    threading.Thread(target=_end_stage, args=(stop,), daemon=True).start()
    from dvc.cli import main as dvc

    from dεps.cli.parallel.dag import commands_by, name_causes, own_lines_only

    own_lines_only(name)
    commands_by(command)
    name_causes()
    sys.exit(stop.is_set() or dvc(["--wait-for-lock", "repro", "--single-item", name]))


def _wait_for_end(stop: threading.Event) -> None:
    while os.read(0, 1):
        pass
    stop.set()


def _end_stage(stop: threading.Event) -> None:
    """Send SIGTERM to all processes that DVC has started or yet starts, and SIGKILL to those that stay."""
    import psutil

    stop.wait()
    told: dict[psutil.Process, float] = {}
    while True:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process not in told:
                    told[process] = time.monotonic()
                    process.terminate()
                elif time.monotonic() - told[process] > GRACE:
                    process.kill()
        time.sleep(0.05)


if __name__ == "__main__":
    run(sys.argv[1])
