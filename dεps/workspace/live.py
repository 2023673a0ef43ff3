"""The live file, which a training writes while it runs so that others can watch it.

The first line of `.state/live/<experiment>/<stage>/<instance>.jsonl` says whose training it is; then comes a line per
epoch with its time, as `history.jsonl` has them when the training is over, and a last line at the end. Training does
nothing else for its watchers, so none can stop it or slow it down.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from dεps.core.process import threads
from dεps.workspace.identity import RunIdentity, git_commit, run_identity
from dεps.workspace.stage import Context

#: one epoch's numbers
Record = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """When, where and with which code a training began."""

    #: milliseconds since 1970
    started: int
    host: str
    git_commit: str
    #: name of the DVC experiment that it is part of, or empty
    dvc_experiment: str
    #: of the process; 0 where nobody has noted it. The last bits of results depend on it
    threads: int = 0
    #: kind of processor and of GPU, and torch's version; empty where nobody has noted them
    machine: str = ""
    torch: str = ""

    @classmethod
    def here(cls, started: int) -> Origin:
        """Describe this process: machine, commit and DVC experiment."""
        return cls(started, socket.gethostname(), git_commit(), os.environ.get("DVC_EXP_NAME", ""))


@dataclass(frozen=True)
class Training:
    """What is known about a training."""

    identity: RunIdentity
    origin: Origin
    #: when each epoch ended, in milliseconds since 1970, and its numbers
    epochs: tuple[tuple[int, Record], ...]
    #: whether it has come to its end
    ended: bool

    def times(self) -> dict[str, int]:
        """Return when each epoch ended, by its numbers as JSON."""
        return {json.dumps(record): time for time, record in self.epochs}


def read_live(path: Path) -> Training | None:
    """Return what a live file says; None if there is none, or its first line is damaged."""
    try:
        lines = [parsed for line in path.read_text("utf-8", "replace").splitlines() if (parsed := _parse(line))]
        identity, origin = RunIdentity(**lines[0]["identity"]), Origin(**lines[0]["origin"])
    except (OSError, IndexError, KeyError, TypeError):
        return None
    pairs = [(line.get("time"), line.get("record")) for line in lines]
    epochs = tuple((time, record) for time, record in pairs if isinstance(time, int) and isinstance(record, dict))
    return Training(identity, origin, epochs, any("end" in line for line in lines))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None  # incomplete: it is being written
    return parsed if isinstance(parsed, dict) else None


class LiveFile:
    """Writes the live file of a training, as its listener."""

    def __init__(self, path: Path, identity: RunIdentity) -> None:
        self.path, self.identity = path, identity
        self.file: IO[str] | None = None

    @classmethod
    def of(cls, context: Context, method: str, manifest: Mapping[str, Any]) -> LiveFile:
        """Return that of the training that `context` names, on the data that `manifest` describes."""
        identity = run_identity(context.params, context.experiment, method, context.seed or 0, manifest)
        return cls(context.state("live", ".jsonl"), identity)

    def start(self, history: Sequence[Record]) -> None:
        """Begin with the epochs that a resumed or branched training already has; known ones keep their times."""
        from dεps.core.device import hardware  # torch, which readers of these files do without

        before, now = read_live(self.path), _now()
        if before is not None and before.identity.digest != self.identity.digest:
            before = None
        times, origin = before.times() if before else {}, replace(Origin.here(now), threads=threads(), **hardware())
        if before and history and not before.ended:  # an interrupted training that goes on
            origin = replace(origin, started=before.origin.started)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("w", encoding="utf-8")
        self._write({"identity": asdict(self.identity), "origin": asdict(origin)})
        for record in history:
            self._write({"time": times.get(json.dumps(record), now), "record": record})

    def log(self, record: Record) -> None:
        self._write({"time": _now(), "record": record})

    def finish(self) -> None:
        self._write({"end": "FINISHED"})
        if self.file:
            self.file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if self.file is None:
            raise ValueError("the training has not started")
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.file.flush()


def _now() -> int:
    return int(time.time() * 1000)
