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

from benchmarks.timing import Comparison, seconds_of
from tests.pipelines.clone import Clone

ROOT = Path(__file__).resolve().parent.parent
#: seconds between the first stage's start and the last one's end that a repro may rest; more: it was interrupted
PAUSE = 30.0
#: of `quick`, for a repro within minutes
PART = ["methods=[rss_short]", "seeds=[0]", "experiments.quick.tuning.trials=0"]


def part_of_repro(rounds: int) -> Comparison:
    """The command `dvc repro` for one method and seed of `quick`, in copies of the project."""
    seconds, computing = list[float](), list[float]()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            clone = Clone(Path(folder), overrides=PART)
            seconds.append(seconds_of(lambda clone=clone: clone.call("dvc", "repro")))
            computing.append(sum(note["computing"] for note in _notes(clone.folder)))
    return _overhead("`dvc repro` of `quick` with `rss_short` alone and no study", seconds, computing)


def whole_repro() -> Comparison | None:
    """The last undisturbed `dvc repro` of this folder, if there was one of all stages, from the stages' own clocks.

    DVC's own start and stages that compute no result (check, report, page, track) are left out.
    """
    notes = sorted(_notes(ROOT), key=lambda note: note["started"])
    notes = [note for note in notes if note["stage"] != "report"]
    names = {note["stage"] for note in notes}
    if not {"prepare", "train", "evaluate", "search", "export", "tune"} <= names:
        return None
    ends = [note["started"] + note["seconds"] for note in notes]
    pauses = [note["started"] - end for note, end in zip(notes[1:], ends, strict=False)]
    if max(pauses) > PAUSE or min(pauses) < -1 or notes[0]["stage"] != "prepare":
        return None
    computing = sum(note["computing"] for note in notes)
    names = ", ".join(f"`{name}`" for name in sorted({note["experiment"] for note in notes}))
    work, seconds = f"whole `dvc repro` of {names}", ends[-1] - notes[0]["started"]
    note = f"the last one of this folder, {len(notes)} stages, without check, report, page, track and DVC's own start"
    return _overhead(work, [seconds], [computing], note)


def _overhead(work: str, seconds: list[float], computing: list[float], note: str = "") -> Comparison:
    return Comparison(work, seconds, "the pure computing of its stages", computing, 1.10, note=note)


def _notes(folder: Path) -> list[dict[str, Any]]:
    timing = folder / ".state" / "timing"
    found = []
    for path in sorted(timing.rglob("*.json")):
        note = json.loads(path.read_text())
        if "computing" in note:
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
