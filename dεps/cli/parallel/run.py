"""Runs the items of DVC's graph side by side, each as soon as those that it stands on are done (`deps repro`)."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dεps.cli.parallel import forks
from dεps.cli.parallel.dag import Dag
from dεps.cli.parallel.item import wait_for_others
from dεps.cli.parallel.launchers import Launcher, LocalLauncher, log_path, read_launcher
from dεps.cli.parallel.progress import Board, Durations, last_line
from dεps.core.console import clock, complain, say
from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.core.params import read_params
from dεps.workspace.locks import STATE, exclusive

#: what the last run took that came to its end
NOTE = STATE / "repro" / "last.json"
#: seconds between two looks at what runs
TICK = 0.1


def reproduce(targets: Sequence[str], jobs: int | None, launcher: str, allow_missing: bool = False) -> None:
    """Bring targets and all that they stand on up to date, or everything. Raises `UserError` if an item failed.

    `allow_missing` as for `Dag`; whatever has changed for it has changed for DVC too, which then runs it.
    """
    config = read_launcher(launcher)
    with exclusive(STATE / "repro.lock", "runs 'deps repro'"):
        wait_for_others()
        dag = Dag(targets, allow_missing)
        todo = dag.behind(dag.changed(dag.upstream))
        if not todo:
            dag.sort_lock()  # an earlier one may have been killed at its end
            say(f"{len(dag.upstream)} items are up to date")
            return
        if config.kind == "slurm":
            from dεps.cli.parallel.slurm import SlurmLauncher

            Run(dag, SlurmLauncher(config, jobs)).work(todo)
        else:
            began = time.time()
            with forks.server(dag.commands(todo)) as server:
                run = Run(dag, LocalLauncher(jobs or config.jobs or _fixed_jobs(), _gpus(), server))
                run.work(todo)
            _note(run.launcher.jobs, len(todo), began)


def _note(jobs: int, items: int, began: float) -> None:
    """Write what the run took, and how long all its processes together computed: for `make bench`."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    busy = sum(one.ru_utime + one.ru_stime for one in usage)
    note = {"started": began, "seconds": time.time() - began, "busy": busy, "jobs": jobs, "items": items}
    write_json(NOTE, note)


def _fixed_jobs() -> int | None:
    """Return 1 where `launch` gives each training several processes, hence all GPUs and cores; else None."""
    return None if read_params().get("launch", "python") == "python" else 1


def _is_portable() -> bool:
    return bool(read_params().get("portable"))


def _gpus() -> list[str]:
    """Return the GPUs that may be used; imports torch only where the system has one, which takes seconds."""
    devices = ("nvidia*", "nvhost*", "nvgpu*", "dxg", "kfd")
    if sys.platform == "linux" and not any(any(Path("/dev").glob(pattern)) for pattern in devices):
        return []
    from dεps.core.device import visible_gpus

    return visible_gpus()


class Run:
    """One run over a graph: what is left to do, runs, and has failed."""

    def __init__(self, dag: Dag, launcher: Launcher) -> None:
        self.dag, self.launcher = dag, launcher
        self.portable = _is_portable()
        self.durations = Durations(dag.upstream)
        self.board = Board(dag.upstream, self.durations, {name: log_path(name) for name in dag.upstream})
        self.running: dict[str, float] = {}
        self.failed: list[str] = []
        #: not yet started
        self.left: set[str] = set()
        #: of these, known to have changed, or not yet looked at
        self.unsure: set[str] = set()

    def work(self, todo: set[str]) -> None:
        """Run what is to do. Raises `UserError` if an item failed; on the way out, ends all that run."""
        began = time.monotonic()
        self.left, self.unsure = set(todo), set(todo)
        some = f"{len(todo)} of {len(self.dag.upstream)} stages to run, {self.launcher.jobs} at once"
        complain(f"{some}; Ctrl-C at any time: the same command goes on where it was")
        way = self.durations.longest_way(self.dag.upstream)
        with self.board:
            try:
                while self.left or self.running:
                    self._start(way)
                    self._collect()
                    self.board.show(self.running, self.left, len(self.failed), self.launcher.jobs)
                    time.sleep(TICK)
            finally:
                self._stop()
                self.dag.sort_lock()
        took = clock(time.monotonic() - began)
        if not self.failed:
            say(f"{len(todo)} of {len(self.dag.upstream)} items brought up to date in {took}")
            return
        skipped = len(self.dag.behind(self.failed)) - len(self.failed)
        also = f", and {skipped} that stand on them did not run" if skipped else ""
        logs = ", ".join(str(log_path(name)) for name in self.failed)
        raise UserError(f"{len(self.failed)} of {len(todo)} items failed{also}: {', '.join(self.failed)}; see {logs}")

    def _start(self, way: dict[str, float]) -> None:
        """Start items whose inputs are ready, the longest way first; skip those that turn out to be up to date."""
        free = self.launcher.jobs - len(self.running)
        busy = self.left | set(self.running)
        ready = [
            name for name in self.dag.upstream if name in self.left and not busy.intersection(self.dag.upstream[name])
        ]
        if not free or not ready:
            return
        if (len(ready) > free or self.dag.allow_missing) and (asked := self.unsure.intersection(ready)):
            # One look at all of them costs less than a process for each, which would run what is only missing.
            self.left -= asked - self.dag.changed(asked)
            self.unsure -= asked
            ready = [name for name in ready if name in self.left]
        if _is_portable() != self.portable:  # items inherit the kernels of this process, and its libraries
            raise UserError("params.yaml: portable has changed since 'deps repro' began; run it again")
        for name in sorted(ready, key=lambda name: -way[name])[:free]:
            self.launcher.start(name)
            self.left.remove(name)
            self.running[name] = time.monotonic()

    def _collect(self) -> None:
        for name, well in self.launcher.ended().items():
            seconds = time.monotonic() - self.running.pop(name)
            if well:
                self.durations.known[name] = seconds
                done = len(self.dag.upstream) - len(self.left) - len(self.running) - len(self.failed)
                self.board.say(f"{name}: done in {clock(seconds)}, stage {done} of {len(self.dag.upstream)}")
            else:
                self.failed.append(name)
                self.left -= self.dag.behind([name])
                self.board.say(f"{name} failed: {last_line(log_path(name))}; log: {log_path(name)}")

    def _stop(self) -> None:
        """End what runs; whoever interrupts this too has it killed."""
        if not self.running:
            return
        complain(f"ending {', '.join(self.running)}; again Ctrl-C kills them")
        try:
            while self.launcher.stop():
                time.sleep(TICK)
        except BaseException:
            self.launcher.stop(kill=True)
            raise
        complain("ended; the same command goes on where they were")
