"""Running a `Trainer` inside a stage: resume checkpoints, the live file, progress, and what training leaves.

Files: `supernet.safetensors`, `history.jsonl` (one record an epoch), `curves.csv` (the same as a table, for
`dvc plots`), `summary.json` (the last values, for `dvc metrics`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dεps import parallel
from dεps.checkpoint import load_snapshot, save_snapshot, write_snapshot
from dεps.config import section
from dεps.errors import UserError
from dεps.files import write_atomic, write_json
from dεps.identity import FULL_MODEL, digest, run_identity
from dεps.live import LiveRun
from dεps.progress import ProgressBar
from dεps.resume import Checkpoints, work_folder, work_key
from dεps.stage import Context, leads
from dεps.supernet.files import save_supernet
from dεps.training import Record, Trainer


def train(context: Context, method: str, trainer: Trainer, out: Path, keep: Collection[int] = ()) -> None:
    """Train to the end and write the results to `out`.

    The state is saved now and then (section `checkpoint` of params) below `.state/resume`; a later process with the
    same parameters, data and code goes on from it, at the exact step. States at the end of the epochs in `keep` are
    written to `out/trunk/epoch-<n>.safetensors`. Of several processes (`dεps.parallel`) only the first writes.
    """
    trainer.label = context.label
    identity = run_identity(context.params, context.experiment, method, context.seed, trainer.data.manifest)
    own = [*_determinants(context, method), sorted(keep)]
    key = work_key(identity.tags["data_hash"], *own, trainer.device.type)
    if not leads():
        parallel.wait()  # for what the first process makes of an interrupted run's state
        resume(Saver(context, trainer, context.state("resume") / key))
        for _ in trainer.run():
            pass
        parallel.leave()
        return
    saver = Saver(context, trainer, work_folder(context.state("resume"), key, context.label))
    resume(saver)
    parallel.wait()
    path = context.state("live")
    live = LiveRun(path.with_name(path.name + ".jsonl"), identity, os.environ.get("DEPS_TRACKING") != "off")
    live.start(trainer.history)
    with ProgressBar(context.label, trainer.total_steps, trainer.step) as bar:
        trainer.on_step = saver.after_step(bar.advance)
        for record in trainer.run():
            if record["epoch"] in keep:
                kept = replace(trainer.snapshot(), origin=origin(context.params, context.experiment, trainer))
                save_snapshot(epoch_file(saver.folder, record["epoch"]), kept)
            saver.after_epoch()
            live.log(record)
            bar.note(f"{context.label}: {describe(record, trainer)}")
    parallel.leave()
    if keep:
        (out / "trunk").mkdir()
    for epoch in keep:
        shutil.copy(epoch_file(saver.folder, epoch), out / "trunk")
    save_supernet(trainer.net, out / "supernet.safetensors", trainer.strategy.space)
    _write_history(trainer.history, out)
    live.finish()


def _determinants(context: Context, method: str) -> list[object]:
    """All that decides what training computes, beside the data and the code."""
    own = context.params["experiments"][context.experiment]
    return [context.seed, own["space"], own["train"], method, own["methods"].get(method), torch.__version__]


class Saver:
    """Keeps the two newest states of a training.

    Args:
        context: names the training, and says in its params how often it is saved.
        folder: as `work_folder` gives it.
    """

    def __init__(self, context: Context, trainer: Trainer, folder: Path) -> None:
        self.label, self.trainer, self.folder = context.label, trainer, folder
        self.config = context.checkpoint()
        self.checkpoints = Checkpoints(folder / "states", self.config.seconds)

    def after_step(self, then: Callable[[], None]) -> Callable[[], None]:
        """What the trainer shall do after each step: save when it is time, and `then`."""

        def on_step() -> None:
            if self.checkpoints.due():
                self.save()
            then()

        return on_step

    def after_epoch(self) -> None:
        """Save when enough epochs have passed, or it is the last one."""
        trainer = self.trainer
        if len(trainer.history) % self.config.epochs == 0 or trainer.step >= trainer.total_steps:
            self.save()

    def save(self) -> None:
        """Save now. Raises `UserError` where the state is not finite."""
        self.trainer.check_finite()
        # An epoch's last step has two states: without its record, and with it.
        number = 2 * self.trainer.step + (not self.trainer.sums)
        self.checkpoints.save(number, lambda path: write_snapshot(path, self.trainer.snapshot()))


def origin(params: dict[str, Any], experiment: str, trainer: Trainer) -> str:
    """What the full model's trajectory depends on, beside the code: a hash of seed, space, training and data."""
    own = section(params, "experiments", experiment)
    return digest([trainer.seed, own["space"], own["train"], trainer.data.manifest["sha256"]])


def branch(context: Context, label: str, trainer: Trainer) -> int:
    """Put the trainer at the last state of its trunk that it can go on from, if there is one.

    Returns the MACs that the state has cost. Raises `UserError` where the trunk is of other params or data.
    """
    trunk = context.folder(FULL_MODEL, str(trainer.seed)) / "trunk"
    state = nearest_epoch(trunk, trainer.strategy.trunk_steps // trainer.steps_per_epoch)
    if state is not None:
        snapshot = load_snapshot(state)
        if snapshot.origin != origin(context.params, context.experiment, trainer):
            stage = f"{FULL_MODEL}@{context.experiment}-{trainer.seed}"
            raise UserError(
                f"{trunk} is of other params or data than params.yaml names; 'dvc repro {stage}' makes it anew"
            )
        trainer.restore(snapshot)
        print(f"{label}: branches from the full model after epoch {len(trainer.history)}")
    return trainer.macs


def resume(saver: Saver) -> None:
    """Put the trainer where an interrupted run of the same work stopped, if there was one."""
    for _, path in saver.checkpoints.intact():
        saver.trainer.restore(load_snapshot(path))
        if leads():
            print(f"{saver.label}: goes on after step {saver.trainer.step}")
        return


def epoch_file(folder: Path, epoch: int) -> Path:
    """Where the trunk's state after so many epochs is."""
    return folder / f"epoch-{epoch:04d}.safetensors"


def nearest_epoch(trunk: Path, epoch: int) -> Path | None:
    """The last kept state of the trunk not after `epoch`, or None."""
    kept = [
        path for path in sorted(trunk.glob("epoch-*.safetensors")) if int(path.stem.removeprefix("epoch-")) <= epoch
    ]
    return kept[-1] if kept else None


def describe(record: Record, trainer: Trainer) -> str:
    """One line about an epoch."""
    parts = [f"epoch {record['epoch']}/{trainer.total_steps // trainer.steps_per_epoch}, {record['phase']}"]
    parts += [f"{key.removeprefix('train/').replace('_', ' ')} {record[key]:.3f}" for key in record if "/loss_" in key]
    accuracies = {key: value for key, value in record.items() if key.startswith("val/")}
    parts += [f"{key.removeprefix('val/').removesuffix('_top1')} {top1:.1f} %" for key, top1 in accuracies.items()]
    return ", ".join(parts)


def _write_history(history: list[Record], out: Path) -> None:
    write_atomic(out / "history.jsonl", "".join(json.dumps(record) + "\n" for record in history))
    pd.DataFrame(history).to_csv(out / "curves.csv", index=False, float_format="%.6g")
    write_json(out / "summary.json", {key: value for key, value in history[-1].items() if "/" in key})
