"""Locks between processes, as files. The kernel releases a lock when its holder ends, however that happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from dεps.core.errors import UserError

#: whatever must not be hashed lies below: locks, unfinished work, durations
STATE = Path(".state")
#: seconds that `exclusive` waits, because `is_held` may hold the lock for a moment
MOMENT = 0.5


def locked(path: Path) -> BaseFileLock:
    """Return the lock at `path`, which `with` waits for, and holds during the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


@contextmanager
def attempt(path: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock at `path` during the block if it is free within `seconds`; yields whether it was."""
    lock = locked(path)
    with suppress(Timeout):
        lock.acquire(timeout=seconds)
    try:
        yield lock.is_locked
    finally:
        lock.release()  # if it is held


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path` during the block, and write this process's number into a `.pid` file next to it.

    Raises `UserError`, which says that the holder does `what`, if there is one, such as a stage of a killed `dvc`.
    """
    holder = path.with_suffix(".pid")
    with attempt(path, MOMENT) as free:
        if not free:
            who = f"process {holder.read_text('utf-8')}" if holder.exists() else "another process"
            raise UserError(f"{path} is held: {who} {what}; wait for it or end it")
        try:
            holder.write_text(str(os.getpid()))
            yield
        finally:
            holder.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Tell whether a process holds the lock at `path`, which need not exist."""
    with attempt(path) if path.exists() else nullcontext(True) as free:
        return not free
