"""The pipeline around the computing: `dvc repro`, tracking, and the start of commands."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import SPEEDUP, Comparison, seconds_of
from dεps.cli.parallel.run import NOTE
from tests.pipelines.clone import Clone
from tests.tools.toy import Toy

ROOT = Path(__file__).resolve().parent.parent
#: the other side of rows on whole runs
COMPUTING = "the pure computing of its stages"
#: of made-up items: what stage `train` imports
IMPORTS = "import torch, pandas\nfrom dεps.methods import registry\nfrom dεps.training import loop, run\n"
#: of `quick`, for a repro within minutes
PART = ["methods=[rss_short]", "seeds=[0]", "experiments.quick.tuning.trials=0"]


def part_of_repro(rounds: int) -> list[Comparison]:
    """`dvc repro` and `deps repro` for one method and seed of `quick`, in copies of the project."""
    found = []
    for command in (["dvc", "repro"], ["deps", "repro", "-j", "1"]):
        seconds, computing = list[float](), list[float]()
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                clone = Clone(Path(folder), overrides=PART)
                seconds.append(seconds_of(lambda clone=clone, command=command: clone.call(*command)))
                computing.append(sum(note["computing"] for note in _notes(clone.folder)))
        work = f"`{' '.join(command)}` of `quick` with `rss_short` alone and no study"
        found.append(Comparison(work, seconds, COMPUTING, computing, 1.10))
    return found


def whole_repro() -> Comparison | None:
    """The last `deps repro` of this folder that came to its end, if it ran all stages: how busy its processes were.

    Seconds of cores that all of them took, DVC, imports, report, page and MLflow included, against those that the
    stages computed, which are the same however many ran at once.
    """
    if not (ROOT / NOTE).exists():
        return None
    last = json.loads((ROOT / NOTE).read_text())
    notes = [note for note in _notes(ROOT) if note["started"] >= last["started"]]
    if not {"prepare", "train", "evaluate", "search", "export", "tune"} <= {note["stage"] for note in notes}:
        return None
    names = ", ".join(f"`{name}`" for name in sorted({note["experiment"] for note in notes}))
    note = f"the last one of this folder: {last['items']} items in {last['seconds']:.0f} s; seconds of cores"
    work = f"whole `deps repro -j {last['jobs']}` of {names}"
    return Comparison(
        work, [last["busy"]], COMPUTING, [sum(note["computing_cores"] for note in notes)], 1.10, note=note
    )


def cheap_items(counts: Sequence[int], with_dvc: int) -> list[Comparison]:
    """Seconds an item that computes nothing but imports what a training does, in made-up projects.

    Those of up to `with_dvc` items run by `dvc repro` too; the largest also has nothing to do, once.
    """
    found, idle = [], []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            toy = Toy(Path(folder), (count - 2) // 2, IMPORTS)
            number = len(toy.items) * 2 + 2
            own = _seconds(toy, *toy.repro("-j", "1")) / number
            idle = [_seconds(toy, *toy.repro("-j", "1"))]
            work = f"each of {number} items that import torch and do nothing, `deps repro -j 1`"
            if number <= with_dvc:
                toy.clear()
                found.append(
                    Comparison(work, [own], "`dvc repro`", [_seconds(toy, "dvc", "repro") / number], 2, SPEEDUP)
                )
            else:
                found.append(Comparison(work, [own], "1 s", [1.0], 1.5))
    return [*found, Comparison(f"`deps repro` of {number} items with nothing to do", idle, "1 s", [1.0], 10.0)]


def _seconds(toy: Toy, *command: str) -> float:
    def run() -> None:
        if (done := toy.run(*command)).returncode:
            raise RuntimeError(done.stderr)

    return seconds_of(run)


def _notes(folder: Path) -> list[dict[str, Any]]:
    timing = folder / ".state" / "timing"
    found = []
    for path in sorted(timing.rglob("*.json")):
        note = json.loads(path.read_text())
        if "computing_cores" in note:
            experiment, stage, _ = path.relative_to(timing).parts
            found.append({**note, "experiment": experiment, "stage": stage})
    return found


def tracking(epochs: int, rounds: int) -> Comparison:
    """A short training of `quick` as a process: alone, and with `deps track --follow` beside it."""
    stage = [sys.executable, "-m", "pipelines.full_model", "--experiment", "quick", "--seed", "0"]
    alone, followed = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder), overrides=[*PART, f"experiments.quick.train.epochs={epochs}"])
        clone.call("dvc", "repro", "prepare@quick")
        clone.call("deps", "track")  # makes the store
        for number in range(rounds):
            for seconds in (alone, followed)[:: -1 if number % 2 else 1]:
                with _follower(clone) if seconds is followed else nullcontext():
                    seconds.append(seconds_of(lambda: clone.call(*stage)))
    work, against = f"a training of {np.median(alone):.0f} s", "the same alone"
    return Comparison(f"{work} with `deps track --follow` beside it", followed, against, alone, 1.02)


@contextmanager
def _follower(clone: Clone) -> Iterator[None]:
    command = [sys.executable, "-m", "deps", "track", "--follow"]
    process = subprocess.Popen(command, cwd=clone.folder, env=clone.environment())
    try:
        yield
    finally:
        process.kill()
        process.wait()


def start(command: Sequence[str], what: str, limit: float, rounds: int, folder: Path = ROOT) -> Comparison:
    """Seconds that a command takes; the other side is a second."""

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    run()
    seconds = [seconds_of(run) for _ in range(rounds)]
    return Comparison(what, seconds, "1 s", [1.0] * rounds, limit)


def starts(rounds: int) -> list[Comparison]:
    """Of what is used most: the command line, an import, and a repro with nothing to do."""
    code = "import time; t = time.perf_counter(); import dεps.spaces.space; print(time.perf_counter() - t)"
    deps = str(Path(sys.executable).with_name("deps"))
    found = [start([deps, "--help"], "`deps --help`", 0.3, rounds)]
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT).stdout)
        for _ in range(rounds)
    ]
    found.append(Comparison("`import dεps.spaces.space`", seconds, "1 s", [1.0] * rounds, 0.1))
    return found


def nothing_to_do(rounds: int) -> Comparison | None:
    """`dvc repro` where all is up to date; None where it is not."""
    dvc = str(Path(sys.executable).with_name("dvc"))
    if not (ROOT / "dvc.lock").exists() or not (ROOT / "runs").exists():
        return None
    status = subprocess.run([dvc, "status", "--quiet"], cwd=ROOT, check=False)
    return None if status.returncode else start([dvc, "repro"], "`dvc repro` with nothing to do", 3.0, rounds)
