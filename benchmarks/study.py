"""An Optuna study over shrink timing: trials that branch from one trunk, and as many trainings from scratch."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.timing import Comparison, seconds_of
from dεps.core.params import read_params
from dεps.data.manifest import prepared_folder
from dεps.sources import fashion_mnist_mini
from dεps.tuning.objective import ShrinkPhase
from dεps.tuning.storage import open_storage, storage_url
from dεps.tuning.study import open_study
from dεps.tuning.study import work as run_trials
from dεps.workspace.identity import FULL_MODEL
from dεps.workspace.stage import Context
from pipelines import full_model, prepare
from tests.pipelines.clone import DRAWN, Clone

EXPERIMENT = "quick"
#: seconds that a trial of nothing takes
SLEEP = 0.2
OVERRIDES = [
    *DRAWN,
    "experiments.quick.train.batch_size=64",
    "experiments.quick.train.validate_recalibration=100",
    "experiments.quick.evaluate.recalibration_images=200",
    "experiments.quick.tuning.objectives=[accuracy]",
    "experiments.quick.tuning.pruner=asha",
    "experiments.quick.tuning.points=[]",  # given points are never pruned
    "methods=[deps]",
    "seeds=[0]",
]


@contextmanager
def _copy(epochs: int, images: int, trials: int, sampler_seed: int) -> Iterator[None]:
    """In a copy of the project, with few images and little to train; lines of progress are swallowed."""
    own = [f"experiments.quick.train.epochs={epochs}"]
    own += [f"experiments.quick.tuning.{key}" for key in (f"trials={trials}", f"sampler_seed={sampler_seed}")]
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder), train_images=1, overrides=[*OVERRIDES, *own])
        _write_images(clone.folder / "images", {"train": images, "validation": 100, "test": 20})
        quiet = io.StringIO()
        with (
            contextlib.chdir(clone.folder),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            _stage(prepare, Context("prepare", EXPERIMENT, params=read_params()), prepared_folder(EXPERIMENT))
            yield


def _write_images(root: Path, counts: dict[str, int]) -> None:
    """So many of the embedded images, in folders: on drawn ones trials end alike, and none is pruned."""
    shutil.rmtree(root)
    arrays, classes = fashion_mnist_mini.read(), fashion_mnist_mini.CLASSES
    for split, count in counts.items():
        for number, (pixels, label) in enumerate(zip(*(array[:count] for array in arrays[split]), strict=True)):
            folder = root / split / classes[label].replace("/", " ")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.squeeze()).save(folder / f"{number:04d}.png")


def _stage(module: Any, context: Context, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    module.work(context, out)


@dataclass(frozen=True)
class _Round:
    """Seconds and GMACs of a study and of the trainings from scratch, and how many trials were pruned."""

    seconds: tuple[float, float]
    gmacs: tuple[float, float]
    pruned: int


def against_scratch(trials: int, epochs: int, images: int, rounds: int) -> tuple[Comparison, Comparison]:
    """Seconds and MACs of a study with its trunk, and of its trials' options each trained from scratch to the end.

    Each round is a study of its own, whose sampler draws other options.
    """
    found = [_round(trials, epochs, images, number) for number in range(rounds)]
    work, against = f"Optuna study of {trials} trials, trunk included", f"{trials} trainings from scratch"
    note = f"{' and '.join(str(each.pruned) for each in found)} trials pruned"
    ours, theirs = zip(*(each.seconds for each in found), strict=True)
    own, whole = zip(*(each.gmacs for each in found), strict=True)
    return (
        Comparison(work, list(ours), against, list(theirs), 0.55, note=note),
        Comparison(work, list(own), against, list(whole), 0.55, unit="GMACs", note=note),
    )


def _round(trials: int, epochs: int, images: int, sampler_seed: int) -> _Round:
    with _copy(epochs, images, trials, sampler_seed):
        params = read_params()
        trunk = Context(FULL_MODEL, EXPERIMENT, seed=0, params=params)
        phase = ShrinkPhase(Context("tune", EXPERIMENT, params=params))
        study = open_study(phase.plan, open_storage(storage_url(None, phase.plan.state)))

        def branched() -> None:
            _stage(full_model, trunk, trunk.folder(FULL_MODEL, "0"))
            run_trials(phase.plan, study, phase, trials)

        seconds = seconds_of(branched)
        outcomes = [trial.user_attrs["outcome"] for trial in study.trials]
        options = [trial.user_attrs["options"] for trial in study.trials]
        cost = phase.full_model_tmacs() + sum(outcome["own_tmacs"] for outcome in outcomes)
        shutil.rmtree(trunk.folder(FULL_MODEL, "0"))
        whole = list[float]()

        def from_scratch() -> None:
            for number, own in enumerate(options):
                outcome = phase(1000 + number, number, own, lambda *_: None)
                whole.append(outcome.train_tmacs)

        scratch = seconds_of(from_scratch)
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    return _Round((seconds, scratch), (1000 * cost, 1000 * sum(whole)), pruned)


def seconds_of_bookkeeping(trials: int, workers: int) -> float:
    """Of a study whose trials only sleep, shared by so many processes; their start included."""
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/study.db"
        command = [sys.executable, "-m", "tests.tuning.toy", storage, folder, str(trials), str(SLEEP)]
        started = time.perf_counter()
        for process in [subprocess.Popen(command) for _ in range(workers)]:
            process.wait()
        return time.perf_counter() - started
