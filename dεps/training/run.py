"""Runs a `Trainer` inside a stage: saves and resumes its state, shows progress, and writes the results.

Files: `supernet.safetensors`, `history.jsonl` (one record per epoch), `curves.csv` (the same as a table, for
`dvc plots`), `summary.json` (the last values, for `dvc metrics`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch

from dεps.core.console import ProgressBar, say
from dεps.core.errors import UserError
from dεps.core.files import write_atomic, write_json
from dεps.core.hashing import digest, file_hash
from dεps.core.params import section
from dεps.evaluation import parallel
from dεps.nets import operators
from dεps.nets.files import save_supernet
from dεps.training.loop import Record, Trainer
from dεps.training.snapshot import load_snapshot, write_snapshot
from dεps.workspace.decides import values
from dεps.workspace.identity import FULL_MODEL, run_identity, training_facts
from dεps.workspace.outputs import CURVES, HISTORY, SUMMARY, SUPERNET
from dεps.workspace.resume import Checkpoints, work_folder
from dεps.workspace.stage import Context, leads

#: number of attempts at a training whose kept states vanish while it runs
ATTEMPTS = 3


class Listener(Protocol):
    """Hears of each epoch when it ends, such as MLflow's live file."""

    def start(self, history: Sequence[Record]) -> None:
        """Begin; `history` holds the epochs that the training already has."""

    def log(self, record: Record) -> None:
        """Take the record of an epoch that has ended."""

    def finish(self) -> None:
        """End: the results are written."""


def train(
    context: Context,
    method: str,
    trainer: Trainer,
    out: Path,
    listener: Listener,
    keep: Collection[int] = (),
    begins_at: Sequence[str] = (),
) -> None:
    """Train to the end and write the results to `out`.

    The state is saved from time to time (section `checkpoint` of params) below `.state/resume`. A later process with
    the same params, data and code goes on from it, at the exact step. Of several processes
    (`dεps.evaluation.parallel`) only the first writes and tells the listener.

    Args:
        context: the stage's instance.
        method: name of the method in the run's identity.
        trainer: at its beginning, or at a state of the trunk.
        out: folder of the results.
        listener: hears of each epoch.
        keep: epochs whose states are written to `out/trunk/epoch-<n>.safetensors`, for methods to branch from; one that
            is lost or damaged before the end is trained again.
        begins_at: what the training begins at, where that is neither random weights nor the trunk: hashes and names.
    """
    trainer.label = context.label
    identity = run_identity(context.params, context.experiment, method, trainer.seed, trainer.data.manifest)
    made_with = [torch.__version__, trainer.device.type]
    if trainer.config.operators == "native":
        made_with.append(operators.build().stem)
    key = context.work_key(identity.tags["data_hash"], sorted(keep), *made_with, *begins_at)
    folder = context.state("resume") / key
    if leads():
        work_folder(folder.parent, key, context.label)
    saver = Saver(context, trainer, folder, keep)
    for attempt in range(ATTEMPTS):
        if attempt:
            trainer = saver.trainer = trainer.anew()
        parallel.wait()  # until the first process has sorted an interrupted run's states
        resume(saver)
        parallel.wait()
        if leads() and trainer.begins and not trainer.step:
            say(f"{context.label}: {trainer.begins}")
        if leads():
            _train(saver, listener)
        else:
            for _ in trainer.run():
                pass
        whole = not leads() or saver.publish(out / "trunk")
        if not parallel.total(int(not whole), trainer.part):
            break
        if leads():
            say(f"{context.label}: an epoch to keep was lost or damaged meanwhile; it is trained again")
    else:
        raise UserError(f"{folder} loses what is written there; see to its disk, and run the stage again")
    parallel.leave()
    if not leads():
        return
    out.mkdir(parents=True, exist_ok=True)
    facts = training_facts(context.params, context.experiment, method, trainer.seed, trainer.data.manifest)
    save_supernet(trainer.net, out / SUPERNET, trainer.method.space, facts, trainer.averaged)
    _write_history(trainer.history, out)
    listener.finish()


def _train(saver: Saver, listener: Listener) -> None:
    """Train from where the trainer is to the end, saving states on the way."""
    trainer = saver.trainer
    if saver.told is None:
        listener.start(trainer.history)
        saver.told = len(trainer.history)
    with ProgressBar(saver.label, trainer.total_steps, trainer.step) as bar:
        trainer.on_step = saver.after_step(bar.advance)
        for record in trainer.run():
            saver.after_epoch()
            if len(trainer.history) > saver.told:  # not of an epoch that is trained again
                listener.log(record)
                saver.told = len(trainer.history)
            bar.note(f"{saver.label}: {describe(record, trainer)}")


class Saver:
    """Keeps the two newest states of a training, and those after the epochs in `keep`.

    Args:
        context: names the training; its params say how often to save.
        folder: folder of the states, from `work_folder`.
    """

    def __init__(self, context: Context, trainer: Trainer, folder: Path, keep: Collection[int] = ()) -> None:
        self.label, self.trainer, self.folder = context.label, trainer, folder
        self.config = context.checkpoint()
        self.checkpoints = Checkpoints(folder / "states", self.config.seconds)
        self.kept = Checkpoints(folder / "kept", self.config.seconds, keep=None)
        self.origin = origin(context.params, context.experiment, trainer) if keep else ""
        #: epochs to keep, by the number of their states; see `_number`
        self.keep = {2 * epoch * trainer.steps_per_epoch + 1: epoch for epoch in keep}
        #: number of epochs that the listener knows of; None before it has been told to start
        self.told: int | None = None

    def after_step(self, then: Callable[[], None]) -> Callable[[], None]:
        """Function for `Trainer.on_step`: saves when it is time, then calls `then`."""

        def on_step() -> None:
            if self.checkpoints.due():
                self.save()
            then()

        return on_step

    def after_epoch(self) -> None:
        """Keep the state where this epoch is to be kept; save it when enough epochs have passed, or after the last."""
        trainer = self.trainer
        if self._number() in self.keep:
            kept = replace(trainer.snapshot(), origin=self.origin)
            self.kept.save(self._number(), partial(write_snapshot, snapshot=kept))
        if len(trainer.history) % self.config.epochs == 0 or trainer.step >= trainer.total_steps:
            self.save()

    def save(self) -> None:
        """Save the state now. Raises `DivergenceError` where it is not finite."""
        self.trainer.check_finite()
        self.checkpoints.save(self._number(), lambda path: write_snapshot(path, self.trainer.snapshot()))

    def _number(self) -> int:
        """Number of the current state: the last step of an epoch has two states, without its record and with it."""
        return 2 * self.trainer.step + (not self.trainer.sums)

    def states(self) -> list[Path]:
        """Files of all states by ascending number, damaged ones included."""
        return sorted([*self.checkpoints.files(), *self.kept.files()], key=lambda path: path.name)

    def newest(self) -> Path | None:
        """The last intact state before which no kept state is missing; None where there is none."""
        kept = dict(self.kept.intact())
        states = sorted({**kept, **dict(self.checkpoints.intact())}.items(), reverse=True)
        return next((path for last, path in states if all(n in kept for n in self.keep if n <= last)), None)

    def publish(self, trunk: Path) -> bool:
        """Copy the kept states to `trunk`; whether all of them are there, and undamaged."""
        kept = dict(self.kept.intact())
        for number, epoch in self.keep.items():
            if number not in kept:
                return False
            trunk.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept[number], epoch_file(trunk, epoch))
            if not kept[number].name.endswith(f"-{file_hash(epoch_file(trunk, epoch))}"):
                return False
        return True


def origin(params: dict[str, Any], experiment: str, trainer: Trainer) -> str:
    """Hash of what a trunk depends on beside the code: seed, space, `train` section and data."""
    own = section(params, "experiments", experiment)
    return digest([trainer.seed, *values("standalone", own).values(), trainer.data.manifest["sha256"]])


def branch(context: Context, label: str, trainer: Trainer, state: Path | None = None) -> int:
    """Put the trainer at the last kept state of its trunk that its method shares, if there is one, or at `state`.

    Returns the MACs that were spent until then. Raises `UserError` where the trunk is of other params or data.
    """
    trunk = context.folder(FULL_MODEL, str(trainer.seed)) / "trunk"
    state = state or nearest_epoch(trunk, trainer.method.trunk_steps // trainer.steps_per_epoch)
    if state is not None:
        snapshot = load_snapshot(state)
        if snapshot.origin != origin(context.params, context.experiment, trainer):
            cure = f"'dvc repro {FULL_MODEL}@{context.experiment}-{trainer.seed}' makes it anew"
            raise UserError(f"{trunk} is of other params or data than params.yaml names; {cure}")
        trainer.restore(snapshot)
        say(f"{label}: branches from the full model after epoch {len(trainer.history)}")
    return trainer.macs


def resume(saver: Saver) -> None:
    """Put the trainer where an interrupted run of the same work has stopped, if there was one."""
    states, path = saver.states(), saver.newest()
    if path is not None:
        saver.trainer.restore(load_snapshot(path))
    if leads() and states:
        where = f"goes on after step {saver.trainer.step}" if path else "starts from the beginning"
        whole = path and path.name[:12] == states[-1].name[:12]
        say(f"{saver.label}: {where}{'' if whole else '; a state after that is lost or damaged, and made again'}")


def epoch_file(folder: Path, epoch: int) -> Path:
    """Path of the trunk's state after an epoch."""
    return folder / f"epoch-{epoch:04d}.safetensors"


def nearest_epoch(trunk: Path, epoch: int) -> Path | None:
    """Path of the last kept state of the trunk at or before `epoch`; None where there is none."""
    kept = {int(path.stem.removeprefix("epoch-")): path for path in trunk.glob("epoch-*.safetensors")}
    return kept.get(max((number for number in kept if number <= epoch), default=-1))


def describe(record: Record, trainer: Trainer) -> str:
    """One line that sums up an epoch's record."""
    parts = [f"epoch {record['epoch']}/{-(-trainer.total_steps // trainer.steps_per_epoch)}, {record['phase']}"]
    parts += [f"{key.removeprefix('train/').replace('_', ' ')} {record[key]:.3f}" for key in record if "/loss_" in key]
    for key, top1 in record.items():
        if key.startswith(("val/", "val_ema/")):
            split, _, name = key.partition("/")
            own = name.removesuffix("_top1").replace("_", " ") + " of EMA" * (split == "val_ema")
            parts.append(f"{own} {top1:.1f} %")
    return ", ".join(parts)


def _write_history(history: list[Record], out: Path) -> None:
    write_atomic(out / HISTORY, "".join(json.dumps(record) + "\n" for record in history))
    CURVES.write(pd.DataFrame(history).drop(columns="phases", errors="ignore"), out)
    write_json(out / SUMMARY, {key: value for key, value in history[-1].items() if "/" in key})
