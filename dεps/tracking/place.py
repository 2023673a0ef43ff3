"""Where a training runs, which tells one that was killed here from one that runs on another machine.

An MLflow run that is RUNNING has tags for both: the training's machine, and its *work*. DVC's queue runs experiments in
copies of the working copy.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dεps.core.files import write_atomic
from dεps.tracking.address import root
from dεps.workspace.identity import FINETUNE
from dεps.workspace.live import Training
from dεps.workspace.locks import is_held, locked
from dεps.workspace.stage import STATE

#: the machine, and `<working copy>/<experiment>/<stage>/<instance>`, or `<working copy>/.dvc/tmp/exps/<copy>/…`
HOST_TAG, WORK_TAG = "deps.host", "deps.work"
#: where DVC creates copies
COPIES = (".dvc/tmp/exps/*", ".dvc/tmp/exps/standalone/*")


@dataclass(frozen=True)
class Work:
    """One instance of a training stage."""

    #: `<experiment>/<stage>/<instance>`
    name: str
    #: folder of the copy that it runs in, relative to the working copy; "." for the working copy itself
    copy: str = "."

    @property
    def live(self) -> Path:
        """Return the file that it writes while it runs."""
        return root() / self.copy / STATE / "live" / f"{self.name}.jsonl"

    @property
    def is_running(self) -> bool:
        """Tell whether a process on this machine runs it."""
        lock = root() / self.copy / STATE / "locks" / f"{self.name}.lock"
        return lock.with_suffix(".pid").exists() and is_held(lock)  # does not touch a lock that nobody holds

    @property
    def is_of_command(self) -> bool:
        """Tell whether `deps finetune` ran it, which is over: a stage leaves results, from which its run is made."""
        results = root() / self.copy / "runs" / self.name
        return self.name.split("/")[1] == FINETUNE and not self.is_running and not results.exists()

    def tags(self, training: Training) -> dict[str, str]:
        """Return the tags of its run while that is RUNNING."""
        parts = (workspace(), *([] if self.copy == "." else [self.copy]), self.name)
        return {HOST_TAG: training.origin.host, WORK_TAG: "/".join(parts)}


def works() -> Iterator[Work]:
    """Yield all that have a live file, here and in copies in DVC's queue."""
    for copy in (root(), *(path for pattern in COPIES for path in sorted(root().glob(pattern)))):
        live = copy / STATE / "live"
        for path in sorted(live.glob("*/*/*.jsonl")):
            yield Work(path.relative_to(live).with_suffix("").as_posix(), copy.relative_to(root()).as_posix())


def work_of(tags: Mapping[str, str]) -> Work:
    """Return the work that a run's tags name."""
    *copy, experiment, stage, instance = tags[WORK_TAG].split("/")[1:]
    return Work(f"{experiment}/{stage}/{instance}", "/".join(copy) or ".")


def host() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def workspace() -> str:
    """Return the random name of this working copy; every other working copy has another."""
    path = root() / STATE / "workspace"
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            write_atomic(path, uuid.uuid4().hex[:12])
        return path.read_text("utf-8")


def is_elsewhere(tags: Mapping[str, str]) -> bool:
    """Tell whether a run with these tags belongs to another working copy."""
    return tags.get(WORK_TAG, "").partition("/")[0] not in ("", workspace())
