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
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import yaml

from dεps.core.hashing import sha256
from tests.pipelines.clone import OVERRIDES, Clone
from tests.tools.toy import processes_in

LONG = ("prepare", "full_model", "standalone", "train", "evaluate", "search", "tune")
WAYS = ("machine", "machine", "stage", "dvc")
#: kills in one copy, at most; then another copy begins
MOST = 20
#: seconds until an interruption of a parallel run: at least; at most, or as long as one took that came to its end
SHORTEST, LONGEST = 2.0, 40.0
#: share of kills at any moment of a stage, its imports included; the others wait until it is at work
ANYTIME = 0.2
#: larger than the miniature of other tests, so that there is work to kill
SIZE = {"train_images": 300, "overrides": [*OVERRIDES, "experiments.quick.evaluate.population.per_bucket=12"]}


class Run:
    """One `dvc repro`, or another command, in a session of its own."""

    def __init__(self, clone: Clone, log: Path, command: Sequence[str] = ("dvc", "repro")) -> None:
        self.log, self.start = log, log.stat().st_size if log.exists() else 0
        self.process = subprocess.Popen(
            command,
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


def at_work(run: Run, clone: Clone, name: str) -> bool:
    """Whether the stage instance has passed its imports: one of the run's processes holds its lock."""
    stage, _, rest = name.partition("@")
    experiment, _, instance = rest.partition("-")
    path = clone.folder / ".state/locks" / experiment / stage / f"{instance or 'all'}.pid"
    try:
        return int(path.read_text() or 0) in run.stage_processes()
    except FileNotFoundError:
        return False


def crash(folder: Path, kills: int, seed: int, reference: Clone, say: Callable[[str], None] = print) -> Counter[str]:
    """Run the test below `folder`; returns kills by stage. Raises `AssertionError` where a result differs."""
    rng = random.Random(seed)
    usual = {name: seconds for name, seconds in durations(reference).items() if name.split("@")[0] in LONG}
    done: Counter[str] = Counter()
    while (left := kills - sum(done.values())) > 0:
        copy = len(list(folder.glob("copy-*.log"))) + 1
        clone, log = _copy(folder / f"copy-{copy}", reference), folder / f"copy-{copy}.log"
        before = sum(done.values())
        _killed(clone, log, usual, Counter(rng.choices(sorted(usual), k=min(left, MOST))), done, rng, say)
        assert sum(done.values()) > before, "no kill could be placed"
        assert clone.outputs() == reference.outputs(), f"outputs differ: {clone.folder}, {reference.folder}: dvc.lock"
        unfinished = [path for path in (clone.folder / ".state/resume").rglob("*") if path.is_file()]
        assert not unfinished, f"left behind: {unfinished[0]}"
    return done


def _copy(folder: Path, reference: Clone) -> Clone:
    folder.mkdir()
    overrides = [*reference.overrides, "checkpoint.seconds=0"]
    return Clone(folder, train_images=reference.train_images, overrides=overrides)


def _killed(
    clone: Clone,
    log: Path,
    usual: dict[str, float],
    planned: Counter[str],
    done: Counter[str],
    rng: random.Random,
    say: Callable[[str], None],
) -> None:
    """Repeat `dvc repro` until it comes to its end, killing as planned; what came too late hits the next stage."""
    seen: set[str] = set()
    while True:
        run, decided = Run(clone, log), None
        while run.process.poll() is None:
            name = run.stage()
            if name == decided or name not in usual:
                time.sleep(0.02)
                continue
            decided = name
            planned[name] += sum(planned.pop(earlier, 0) for earlier in seen - {name})
            seen.add(name)
            if not planned[name]:
                continue
            if rng.random() > ANYTIME:
                while run.process.poll() is None and run.stage() == name and not at_work(run, clone, name):
                    time.sleep(0.01)
            time.sleep(rng.uniform(0.0, usual[name]))
            if run.process.poll() is None and run.stage() == name:
                way = rng.choice(WAYS)
                run.kill(way)
                planned[name] -= 1
                done[name.split("@")[0]] += 1
                say(f"kill {sum(done.values())}: {way} in {name}")
                if way == "dvc":
                    _refused(clone, run, log, say)
                _without_half_a_lock(clone, say)
                break
        else:
            assert run.process.returncode == 0, f"dvc repro failed by itself:\n{run.output()[-3000:]}"
            text = log.read_text()
            assert "Traceback" not in text, f"a traceback in {log}"
            assert "starts anew" not in text, f"saved work was not used: {log}"
            say(f"resumed {text.count(': goes on after')} times")
            return


def _without_half_a_lock(clone: Clone, say: Callable[[str], None]) -> None:
    """Do what docs/clusters.md says where `dvc repro` was killed in the moment in which DVC writes one of its files."""
    wholes = {"dvc.lock": lambda text: "stages" in yaml.safe_load(text), ".dvc/tmp/rwlock": json.loads}
    for name, read in wholes.items():
        path = clone.folder / name
        try:
            whole = not path.exists() or read(path.read_text()) is not False
        except (ValueError, TypeError, yaml.YAMLError):
            whole = False
        if not whole:
            path.unlink()
            say(f"  DVC was writing {name}, and left half of it: removed")


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


def crash_parallel(folder: Path, kills: int, seed: int, reference: Clone, jobs: int, say: Callable[[str], None]) -> int:
    """Interrupt `deps repro -j <jobs>` at random moments until it has been often enough, then let it finish.

    It, or all processes of its copy, are killed with SIGKILL, or it is told to end by SIGTERM. `dvc.lock` and all
    files must come out as the reference's. Returns the number of interruptions. Raises `AssertionError`.
    """
    rng, done, copies, longest = random.Random(seed), 0, 0, LONGEST
    while done < kills:
        clone, log = _copy(folder / f"parallel-{copies}", reference), folder / f"parallel-{copies}.log"
        copies, before = copies + 1, done
        while True:
            run, start = Run(clone, log, ["deps", "repro", "-j", str(jobs)]), time.monotonic()
            try:
                run.process.wait(rng.uniform(SHORTEST, longest) if done < kills else None)
                if done == before:  # undisturbed; the next copy's are placed within that time
                    longest = max(SHORTEST, min(longest, time.monotonic() - start))
                break
            except subprocess.TimeoutExpired:
                way, running = rng.choice(("machine", "deps", "terminate")), processes_in(clone.folder)
                for pid in running if way == "machine" else [run.process.pid]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM if way == "terminate" else signal.SIGKILL)
                run.process.wait(60)
                done += 1
                say(f"kill {done}: {way}, {len(running)} processes")
        text = log.read_text()
        assert run.process.returncode == 0, f"deps repro failed by itself: {text[-3000:]}"
        assert "Traceback" not in text, f"a traceback in {log}"
        assert copies <= kills + 3, "no kill can be placed"
        assert (clone.folder / "dvc.lock").read_bytes() == (reference.folder / "dvc.lock").read_bytes(), clone.folder
        assert contents(clone.folder) == contents(reference.folder), f"files differ: {clone.folder}"
    return done


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all results by their paths."""
    files = [path for part in ("runs", "reports") for path in (folder / part).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Kill a small experiment at random moments and compare its results.")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="above 1: of deps repro -j")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as folder:
        try:
            print("undisturbed run …", flush=True)
            (Path(folder) / "reference").mkdir()
            size = SIZE if options.jobs == 1 else {"overrides": [*OVERRIDES, "checkpoint.seconds=0"]}
            reference = Clone(Path(folder) / "reference", **size)
            reference.call("dvc", "repro")
            if options.jobs > 1:
                say = partial(print, flush=True)
                count = crash_parallel(Path(folder), options.kills, options.seed, reference, options.jobs, say)
                print(f"{count} kills: dvc.lock and all files are the undisturbed run's")
                return
            done = crash(Path(folder), options.kills, options.seed, reference, lambda line: print(line, flush=True))
        except AssertionError as error:
            sys.exit(f"error: {error}")
    spread = ", ".join(f"{count} in {stage}" for stage, count in done.items())
    print(f"{sum(done.values())} kills ({spread}): dvc.lock is the undisturbed run's")


if __name__ == "__main__":
    main()
