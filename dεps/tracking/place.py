"""Where a run is trained: a run whose training was killed here is told from one that another machine works on."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

from filelock import FileLock, Timeout

from dεps.core.files import write_atomic

HOST_TAG, WORK_TAG = "deps.host", "deps.work"
STATE = Path(".state")


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def workspace() -> str:
    """A random name of this working copy; other copies, here or elsewhere, have others."""
    path = STATE / "workspace"
    STATE.mkdir(exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            write_atomic(path, uuid.uuid4().hex[:12])
        return path.read_text("utf-8")


def tags(live: Path) -> dict[str, str]:
    """Of a run whose training writes the file `live`, `.state/live/<experiment>/<stage>/<instance>.jsonl`."""
    work = live.with_suffix("").parts[-3:]
    return {HOST_TAG: host(), WORK_TAG: "/".join((workspace(), *work))}


def is_elsewhere(tags: dict[str, str]) -> bool:
    """Whether a run with these tags belongs to another working copy."""
    return tags.get(WORK_TAG, "").partition("/")[0] not in ("", workspace())


def is_worked_on(work: str) -> bool:
    """Whether a process of this working copy holds the lock of `<experiment>/<stage>/<instance>`."""
    lock = STATE / "locks" / f"{work}.lock"
    if not lock.with_suffix(".pid").exists():  # which the holder writes: a lock that is not tried is in nobody's way
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def live_file(work: str) -> Path:
    """What the training of `<experiment>/<stage>/<instance>` writes."""
    return STATE / "live" / f"{work}.jsonl"
