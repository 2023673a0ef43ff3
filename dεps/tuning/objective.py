"""What a trial does: branch from the full model's trajectory, train the shrink phase, measure on validation.

The training is that of stage `train` and the measuring that of stage `evaluate`, so a trial's numbers are those that
`dvc repro` gives with its parameters, to the bit. Test data is not read.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dεps.core.console import ProgressBar, say
from dεps.core.device import best_device, set_up
from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.core.hashing import digest, file_hash
from dεps.core.params import section
from dεps.core.randomness import python_rng
from dεps.core.tables import columns, records
from dεps.evaluation.accuracy import EvaluateConfig, measured, pareto_metrics
from dεps.evaluation.inputs import load_data, recalibration
from dεps.methods import full_model, registry
from dεps.methods.base import Method
from dεps.nets.files import load_supernet, save_supernet
from dεps.spaces.cost import FORWARD_BACKWARD, macs_counter
from dεps.spaces.space import SearchSpace
from dεps.training.config import FullModelConfig, TrainConfig
from dεps.training.loop import Record, Trainer
from dεps.training.run import Saver, branch, describe, epoch_file, resume
from dεps.tuning.config import TuningConfig
from dεps.tuning.identity import STAGE, kernels
from dεps.tuning.study import Outcome, Plan, Report
from dεps.workspace.decides import code_hash, values
from dεps.workspace.identity import FULL_MODEL
from dεps.workspace.outputs import SUPERNET
from dεps.workspace.resume import Checkpoints, work_folder
from dεps.workspace.stage import STATE, Context


class ShrinkPhase:
    """The objective of one experiment. Raises `UserError` where its params or data cannot be used.

    `trunks_are_new` says that the trunks of stage `full_model` were made by today's code, as DVC sees to.
    """

    def __init__(self, context: Context, trunks_are_new: bool = False) -> None:
        set_up()
        self.context, self.trunks_are_new = context, trunks_are_new
        self.config = context.section(TuningConfig, "tuning")
        self.train, self.space = context.section(TrainConfig, "train"), context.section(SearchSpace, "space")
        where = ".".join(context.keys("tuning"))
        self.config.check_trunk(where, self.train.epochs, context.section(FullModelConfig, "full_model"))
        self.evaluate = context.section(EvaluateConfig, "evaluate")
        self.data = load_data(context)
        self.setup = self.train.setup(self.space, self.data)
        self.seed = self.config.seed

    @cached_property
    def plan(self) -> Plan:
        """The study that this objective belongs to; its name depends on all that decides its results."""
        own = section(self.context.params, *self.context.keys())
        # Of its own section only what trials depend on: more of them are the same study.
        params = {**values(STAGE, own), "tuning": self.config.determinants(), **kernels(self.context.params)}
        decides: list[object] = [params, torch.__version__]
        # With its trunk: one that older code has left is that of another study.
        states = sorted(self._trunk(self.seed).glob("epoch-*.safetensors"))
        decides += [best_device().type, list(map(file_hash, states))]
        key = digest([*decides, self.data.manifest["sha256"], code_hash(STAGE)])
        name = f"{self.context.experiment}-{key}"
        state = STATE / STAGE / self.context.experiment / key
        return Plan(name, self.config, state, self.config.limit_tmacs(self.full_model_tmacs()))

    def check_trunk(self) -> None:
        """Raise `UserError` where a state that trials may branch from is not there: they would train it themselves."""
        for epoch in self.context.section(FullModelConfig, "full_model").epochs(self.train.epochs):
            if not (state := epoch_file(self._trunk(self.seed), epoch)).exists():
                stage = f"{FULL_MODEL}@{self.context.experiment}-{self.seed}"
                raise UserError(f"{state} does not exist; 'dvc repro {stage}' makes it")

    def _trunk(self, seed: int) -> Path:
        return self.context.folder(FULL_MODEL, str(seed)) / "trunk"

    def full_model_tmacs(self) -> float:
        """What the trunk costs to its end, in 10¹² MACs; of elastic resolution, at the sizes that its batches have."""
        macs_of = macs_counter(self.space, len(self.data.classes), self.data.channels)
        macs = sum(count * macs_of(self.space.largest().at(size)) for size, count in self._trunk_sizes.items())
        return self.train.batch_size * FORWARD_BACKWARD * macs / 1e12

    @cached_property
    def _trunk_sizes(self) -> Counter[int]:
        """Number of the trunk's steps at each side of images, drawn as the training draws them."""
        sizes, steps = self.space.resolution, self.setup.steps(self.train.epochs)
        if len(sizes) == 1:
            return Counter({sizes[0]: steps})
        return Counter(python_rng(self.seed, "resolution", step).choice(sizes) for step in range(steps))

    def __call__(self, number: int, place: int, options: dict[str, Any], report: Report) -> Outcome:
        """Train and measure. The state after each epoch is kept until the trial is measured."""
        label = f"{self.context.label} trial {place + 1}"
        return self._run(label, self.plan.state / f"trial-{number}", self.seed, options, report)

    def again(self, seed: int, several: list[dict[str, Any]]) -> Iterator[Outcome]:
        """Measure several trials' options on another seed.

        They branch from the trunk of stage `full_model` where that is known to be new, else from one that is trained
        here as far as they need it: the same bits.
        """
        label, folder = f"{self.context.label} seed {seed}", self.plan.state / f"seed-{seed}"
        usable = self.trunks_are_new and seed in self.context.params["seeds"] and self._trunk(seed).is_dir()
        kept = None if usable else self._own_trunk(label, folder, seed, list(map(self._method, several)))
        for number, options in enumerate(several, 1):
            name = f"{label}, {number} of {len(several)}"
            yield self._run(name, folder / digest(options), seed, options, lambda *_: None, kept)

    def _method(self, options: dict[str, Any]) -> Method:
        return registry.build(options, ".".join(self.context.keys("tuning", "base")), self.setup)

    def _own_trunk(self, label: str, folder: Path, seed: int, branches: list[Method]) -> Checkpoints:
        """States of the full model, by epoch, at each of the branches."""
        trainer = Trainer(self.space, self.data, self.train, full_model.build(full_model.Options(), self.setup), seed)
        trainer.label = f"{label}, trunk"
        needed = {branch.trunk_steps // trainer.steps_per_epoch for branch in branches} - {0}
        saver = Saver(self.context, trainer, folder, needed)
        if saver.keep.keys() <= dict(saver.kept.intact()).keys():
            return saver.kept
        last = max(needed) * trainer.steps_per_epoch
        resume(saver)
        with ProgressBar(f"{label}, trunk", last, min(trainer.step, last)) as bar:
            trainer.on_step = saver.after_step(bar.advance)
            for record in trainer.run(last):
                saver.after_epoch()
                bar.note(f"{label}, trunk: {describe(record, trainer)}")
        return saver.kept

    def _run(
        self,
        label: str,
        parent: Path,
        seed: int,
        options: dict[str, Any],
        report: Report,
        kept: Checkpoints | None = None,
    ) -> Outcome:
        """Branch from the trunk of that seed, or from its `kept` states; train, and measure. Works below `parent`."""
        method = self._method(options)
        trainer = Trainer(self.space, self.data, self.train, method, seed)
        trainer.label, state = label, None
        if kept:
            state = next((path for number, path in kept.intact() if number <= 2 * method.trunk_steps + 1), None)
        start = branch(self.context, label, trainer, state) if state or not kept else 0
        first = len(trainer.history)
        folder = work_folder(parent, digest([self.plan.name, seed, options]), label)
        saver = Saver(self.context, trainer, folder)
        resume(saver)
        with ProgressBar(label, trainer.total_steps, trainer.step) as bar:
            trainer.on_step = saver.after_step(bar.advance)
            self._report(trainer, trainer.history[first:], first, start, report)
            for record in trainer.run():
                saver.after_epoch()
                bar.note(f"{label}: {describe(record, trainer)}")
                self._report(trainer, [record], first, start, report)
        points = self._measure(trainer, folder, seed)
        outcome = self._outcome(trainer, first, start)
        metrics = pareto_metrics(points, "val_top1")
        outcome.accuracy, outcome.smallest, outcome.largest = (metrics[key] for key in ("mean", "smallest", "largest"))
        outcome.points = records(columns(points, "name", "macs", "val_top1"))
        say(f"{label}: validation top-1 mean {outcome.accuracy:.2f} %, {outcome.train_tmacs:.3f} TMACs")
        shutil.rmtree(folder.parent, ignore_errors=True)
        return outcome

    def _measure(self, trainer: Trainer, folder: Path, seed: int) -> pd.DataFrame:
        """The Pareto points on validation, from the file that stage `evaluate` would get."""
        save_supernet(trainer.net, folder / SUPERNET, trainer.method.space)
        net = load_supernet(folder / SUPERNET).to(best_device())
        images = recalibration(self.context, self.data, self.evaluate.recalibration_images, seed)
        splits = {"val": self.data.validation}
        points = net.choices.pareto_archs()
        rows = measured(net, list(points.values()), self.data, splits, images)
        return pd.DataFrame({"name": name, **row} for name, row in zip(points, rows, strict=True))

    def _report(self, trainer: Trainer, records: Iterable[Record], first: int, start: int, report: Report) -> None:
        """Pass on the mean validation accuracy of smallest and largest arch after an epoch of the shrink phase."""
        epochs = trainer.total_steps // trainer.steps_per_epoch
        for record in records:
            values = [value for key, value in record.items() if key.startswith("val/")]
            if values:
                share = (record["epoch"] - first) / (epochs - first)
                report(share, sum(values) / len(values), self._outcome(trainer, first, start))

    def _outcome(self, trainer: Trainer, first: int, start: int) -> Outcome:
        total = trainer.history[-1]["cost/train_tmacs"]
        return Outcome(total, round((trainer.macs - start) / 1e12, 6), history=trainer.history[first:])


def clean(plan: Plan) -> None:
    """Remove what unfinished trials left; the study itself stays, for more trials and to be looked at."""
    for name in ("trial-*", "seed-*"):
        for folder in plan.state.glob(name):
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
    write_json(plan.state / "study.json", {"name": plan.name})
