"""Locks between processes, as files: however its holder ends, the kernel frees a lock with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dεps.core.errors import UserError

#: seconds that `exclusive` tries: `is_held` may have the lock for a moment
MOMENT = 0.5


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, after waiting for whoever holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


@contextmanager
def attempt(path: Path, seconds: float = 0.0) -> Iterator[bool]:
    """Hold the lock at `path` if it can be had within so many seconds; whether it could."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path`, with this process's number beside it in a `.pid` file.

    Raises `UserError`, saying that the holder does `what`, where another process has it, such as one that a killed
    `dvc` has orphaned.
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
    """Whether a process holds the lock at `path`, which need not exist."""
    if not path.exists():
        return False
    with attempt(path) as free:
        return not free
