"""Where a run is trained: a run whose training was killed here is told from one that another machine works on."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

from dεps.core.files import write_atomic
from dεps.workspace.locks import is_held, locked

HOST_TAG, WORK_TAG = "deps.host", "deps.work"
STATE = Path(".state")


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def workspace() -> str:
    """A random name of this working copy; other copies, here or elsewhere, have others."""
    path = STATE / "workspace"
    with locked(path.with_suffix(".lock")):
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
    return is_held(STATE / "locks" / f"{work}.lock")


def live_file(work: str) -> Path:
    """What the training of `<experiment>/<stage>/<instance>` writes."""
    return STATE / "live" / f"{work}.jsonl"
