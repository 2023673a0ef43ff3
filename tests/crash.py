"""Kills `dvc repro` of a small experiment again and again, at random moments, and compares what comes out.

    make crash-test KILLS=40 SEED=0

The reference is an undisturbed run. Then a second copy is run; whenever a long stage has started, one of three things
is killed with SIGKILL at a random moment of it: the whole process group, as when a machine dies; the stage's process
alone; or `dvc` alone, which leaves the stage running as an orphan, so that the next `dvc repro` must refuse to run
beside it. Training saves its state after every step here, so every kill finds something to go on from.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.pipelines.clone import OVERRIDES, Clone

LONG = ("prepare", "full_model", "standalone", "train", "evaluate", "search", "tune")
WAYS = ("machine", "machine", "stage", "dvc")
#: a stage that has started is killed with this probability, and so often at most
PROBABILITY, MOST = 0.8, 5


class Run:
    """One `dvc repro` in a session of its own."""

    def __init__(self, clone: Clone, log: Path) -> None:
        self.log, self.start = log, log.stat().st_size if log.exists() else 0
        self.process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=clone.folder,
            env=clone.environment(),
            stdout=log.open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def output(self) -> str:
        """Of this run so far."""
        with self.log.open("rb") as file:
            file.seek(self.start)
            return file.read().decode(errors="replace")

    def stage(self) -> str | None:
        """The stage instance that runs now."""
        started = re.findall(r"^Running stage '([^']+)'", self.output(), re.MULTILINE)
        return started[-1] if started else None

    def stage_processes(self) -> list[int]:
        """Stage processes of this session."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except (OSError, ValueError):
                continue  # it has just ended
            if session == self.process.pid and any(part.startswith(b"pipelines.") for part in command):
                found.append(int(folder.name))
        return found

    def kill(self, way: str) -> None:
        """Kill the whole group, the stage alone, or `dvc` alone; returns when `dvc` is gone."""
        if way == "machine":
            os.killpg(self.process.pid, signal.SIGKILL)
        elif way == "dvc":
            self.process.kill()
        else:
            for pid in self.stage_processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()


def durations(clone: Clone) -> dict[str, float]:
    """Seconds of each stage instance, by the notes that stages leave."""
    found = {}
    for path in (clone.folder / ".state/timing").rglob("*.json"):
        experiment, stage = path.relative_to(clone.folder / ".state/timing").parts[:2]
        name = f"{stage}@{experiment}" + ("" if path.stem == "all" else f"-{path.stem}")
        found[name] = json.loads(path.read_text())["seconds"]
    return found


def crash(folder: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> Counter[str]:
    """Run the test below `folder`; returns kills by stage. Raises `AssertionError` where a result differs."""
    rng = random.Random(seed)
    say("undisturbed run …")
    reference = _copy(folder / "reference")
    reference.call("dvc", "repro")
    usual = {name: seconds for name, seconds in durations(reference).items() if name.split("@")[0] in LONG}
    done: Counter[str] = Counter()
    rounds = 0
    while sum(done.values()) < kills:
        rounds += 1
        clone = _copy(folder / f"round-{rounds}")
        before = sum(done.values())
        _round(clone, folder / f"round-{rounds}.log", usual, kills, done, rng, say)
        assert sum(done.values()) > before, "no kill could be placed"
        assert clone.lock() == reference.lock(), f"dvc.lock differs: {clone.folder} and {reference.folder}"
        left = [path for path in (clone.folder / ".state/resume").rglob("*") if path.is_file()]
        assert not left, f"left behind: {left[0]}"
    return done


def _copy(folder: Path) -> Clone:
    folder.mkdir()
    clone = Clone(folder)
    clone.call("deps", "params", *OVERRIDES, "checkpoint.seconds=0")
    return clone


def _round(
    clone: Clone,
    log: Path,
    usual: dict[str, float],
    kills: int,
    done: Counter[str],
    rng: random.Random,
    say: Callable[[str], None],
) -> None:
    """Repeat `dvc repro` until it comes to its end, killing on the way."""
    here: Counter[str] = Counter()
    while True:
        run, decided = Run(clone, log), None
        while run.process.poll() is None:
            name = run.stage()
            if name == decided or name not in usual:
                time.sleep(0.02)
                continue
            decided = name
            if sum(done.values()) >= kills or here[name] >= MOST or rng.random() > PROBABILITY:
                continue
            time.sleep(rng.uniform(0.0, 1.1 * usual[name] + 3.0))  # importing takes about 3 s
            if run.process.poll() is None and run.stage() == name:
                way = rng.choice(WAYS)
                run.kill(way)
                here[name] += 1
                done[name.split("@")[0]] += 1
                say(f"kill {sum(done.values())}/{kills}: {way} in {name}")
                if way == "dvc":
                    _refused(clone, run, log, say)
                break
        else:
            assert run.process.returncode == 0, f"dvc repro failed by itself:\n{run.output()[-3000:]}"
            assert "Traceback" not in log.read_text(), f"a traceback in {log}"
            return


def _refused(clone: Clone, killed: Run, log: Path, say: Callable[[str], None]) -> None:
    """While an orphan lives, its stage must not start again beside it; wait until the orphan has ended."""
    if not killed.stage_processes():
        return
    second = Run(clone, log)
    while second.process.poll() is None and killed.stage_processes():
        time.sleep(0.02)
    if second.process.poll() is None:
        second.kill("machine")  # the orphan was faster; go on as if nothing had been tried
    elif killed.stage_processes():
        assert second.process.returncode != 0, "a second stage ran beside an orphan"
        assert "runs this stage; wait for it or end it" in second.output(), second.output()[-1000:]
        say("  the orphan's stage was not started again beside it")
    while killed.stage_processes():
        time.sleep(0.1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Kill a small experiment at random moments and compare its results.")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as folder:
        try:
            done = crash(Path(folder), options.kills, options.seed, lambda line: print(line, flush=True))
        except AssertionError as error:
            sys.exit(f"error: {error}")
    spread = ", ".join(f"{count} in {stage}" for stage, count in done.items())
    print(f"{sum(done.values())} kills ({spread}): dvc.lock is the undisturbed run's")


if __name__ == "__main__":
    main()
