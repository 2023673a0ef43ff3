"""Where items run: processes of this machine, or Slurm jobs.

submitit's own local jobs are not used: cancelling one leaves the processes that it has started, and so does the death
of whoever submitted it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from dεps.cli.parallel import item
from dεps.cli.parallel.forks import Fork, Server
from dεps.core.errors import check_choice
from dεps.core.params import read_params
from dεps.core.process import threads
from dεps.core.schema import checked, structured
from dεps.workspace.locks import STATE

FOLDER = Path("params/launcher")
#: of an item
Process = subprocess.Popen[bytes] | Fork
Text = Annotated[str, Field(min_length=1, max_length=200)]


@checked
class LauncherConfig:
    """A file of `params/launcher/`."""

    kind: Literal["local", "slurm"] = "local"
    #: items at once; None: one a GPU, or without GPUs one a core
    jobs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    #: the rest is Slurm's: what a job asks for
    partition: Text | None = None
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    cpus: Annotated[int, Field(ge=1, le=1024)] = 1
    memory_gb: Annotated[float, Field(gt=0, le=100_000)] = 8.0
    minutes: Annotated[int, Field(ge=1, le=1_000_000)] = 1440
    #: lines of shell before the work
    setup: Annotated[list[Text], Field(max_length=100)] = Field(default_factory=list)


def read_launcher(name: str) -> LauncherConfig:
    """Return what `params/launcher/<name>.yaml` says. Raises `UserError`."""
    check_choice(name, sorted(path.stem for path in FOLDER.glob("*.yaml")) or ["local"], "--launcher")
    path = FOLDER / f"{name}.yaml"
    return structured(LauncherConfig, read_params(path, "deps init writes it") if path.exists() else {}, str(path))


def log_path(name: str) -> Path:
    """Return the file with what an item printed the last time."""
    return STATE / "logs" / f"{name.replace('/', '_')}.log"


class Launcher(Protocol):
    """Starts items, and knows of each that runs whether it has ended."""

    #: items at once
    jobs: int

    def start(self, name: str) -> None: ...

    def ended(self) -> dict[str, bool]:
        """Return the items that have ended since the last call, with whether they did their work."""
        ...

    def stop(self, kill: bool = False) -> bool:
        """Ask all that run to save their work and end, or kill them; tell whether any still runs."""
        ...


class LocalLauncher:
    """Runs each item in a process and a session of its own, on its own GPU where there are several items and GPUs.

    The processes read from pipes that this one holds: when they are closed, or this process dies, items end.

    Args:
        jobs: items at once; None: one a GPU, or without GPUs one a core.
        gpus: as CUDA_VISIBLE_DEVICES names them.
        server: forks the items, as long as it lives.
    """

    def __init__(self, jobs: int | None, gpus: Iterable[str], server: Server | None = None) -> None:
        self.gpus, self.server = list(gpus), server
        self.jobs = jobs or len(self.gpus) or max(1, _cores() // threads())
        self.running: dict[str, tuple[int, Process]] = {}

    def start(self, name: str) -> None:
        place = min(set(range(self.jobs)) - {place for place, _ in self.running.values()})
        path = log_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        self.running[name] = place, self._process(name, place)

    def _process(self, name: str, place: int) -> Process:
        with log_path(name).open("ab") as log:
            if self.server and self.server.alive:
                with suppress(OSError), item.lock_for(name) as lock:  # it may have just ended
                    return self.server.start(name, log, lock, self._own_gpu(place))
            return item.start(name, log, os.environ | self._own_gpu(place), apart=True)

    def _own_gpu(self, place: int) -> dict[str, str]:
        """Return the environment in which an item sees one GPU; all of them if it runs alone."""
        one = self.jobs > 1 and self.gpus
        return {"CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]} if one else {}

    def ended(self) -> dict[str, bool]:
        codes = {name: process.poll() for name, (_, process) in self.running.items()}
        for name, (place, process) in self.running.items():
            if isinstance(process, Fork) and process.lost:
                self._close(process)  # so it ends; a process waits for it, and goes on from what it has saved
                self.running[name] = place, self._process(name, place)
        found = {name: code == 0 for name, code in codes.items() if code is not None}
        for name in found:
            self._close(self.running.pop(name)[1])
        return found

    def stop(self, kill: bool = False) -> bool:
        for _, process in self.running.values():
            self._close(process)
            if kill and process.pid:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
        self.ended()
        return bool(self.running)

    @staticmethod
    def _close(process: Process) -> None:
        if process.stdin:
            process.stdin.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
