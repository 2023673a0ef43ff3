"""`deps plan`: what each method would train and what that costs, before anything runs.

Training cost is counted as `dεps.training.Trainer` counts it, by asking the strategy what each step trains. Wall time
is predicted from a few real steps of each phase on made-up images.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch

from dεps.config import section, structured
from dεps.cost import FORWARD_BACKWARD, macs_counter
from dεps.data.config import DatasetConfig
from dεps.data.sources import read_fashion_mnist_mini
from dεps.data.splits import PreparedData, Split
from dεps.device import best_device, deterministic
from dεps.errors import UserError
from dεps.files import read_json, replace_atomic
from dεps.identity import FULL_MODEL
from dεps.progress import ProgressBar
from dεps.randomness import python_rng
from dεps.reporting.published import COST_DATASET, dataset_of, training_costs
from dεps.search_space import Arch, SearchSpace
from dεps.strategies import full_model, registry
from dεps.strategies.base import Phase, Setup, Strategy, Term
from dεps.training import TrainConfig, Trainer
from dεps.trunk import FullModelConfig

if TYPE_CHECKING:
    from dεps.reporting.timeline import Bar

#: phases with more steps are costed by SAMPLE of them, evenly spaced
EXACT_STEPS, SAMPLE = 5000, 1000
#: images of a measured step: as many as take so many MACs on a CPU, but not fewer than CPU_IMAGES
CPU_MACS, CPU_IMAGES, CUDA_IMAGES = 4_000_000_000, 4, 128
#: endings of what `save_figure` writes
FIGURE_FILES = (".svg", ".png", ".pdf")


@dataclass(frozen=True)
class PhasePlan:
    """One phase of one method; epochs count from 0."""

    name: str
    start: float
    end: float
    #: networks that a step trains, the full model among them
    subnets: int
    macs: int
    #: standard error of `macs`; 0 where every step was counted
    error: float
    #: the full model learns in every step, beside or without subnets
    full: bool
    #: a frozen full model teaches
    teacher: bool
    #: weight of the subnets' losses: (epoch, weight), from start to end; empty where no subnet learns
    weights: tuple[tuple[float, float], ...]
    seconds: float | None = None

    @property
    def epochs(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclass(frozen=True)
class MethodPlan:
    """One method, the full model's training that it branches from included."""

    method: str
    phases: tuple[PhasePlan, ...]
    #: first epochs that a kept state of the trunk saves
    branch: float = 0.0

    @property
    def epochs(self) -> float:
        """All of them."""
        return self.phases[-1].end

    @property
    def macs(self) -> int:
        """Training cost: MACs of every forward and backward."""
        return sum(phase.macs for phase in self.phases)

    @property
    def seconds(self) -> float | None:
        """Predicted wall time of the steps; None where not measured."""
        return None if self.phases[0].seconds is None else sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True)
class ExperimentPlan:
    """All methods of one experiment; the full model alone comes first."""

    name: str
    dataset: str
    space: str
    images: int
    classes: int
    batch_size: int
    seeds: int
    methods: tuple[MethodPlan, ...]
    #: GPU-hours that the papers report for the same data and space, per method
    published: dict[str, float]
    #: where the steps were measured; None where not
    device: str | None

    def relative(self, method: MethodPlan) -> float | None:
        """Training cost in units of DεpS's; None where it is not among the methods."""
        deps = next((plan for plan in self.methods if plan.method == "deps"), None)
        return None if deps is None else method.macs / deps.macs

    @property
    def error(self) -> float:
        """Largest relative standard error of a training cost."""
        return max(sum(phase.error**2 for phase in plan.phases) ** 0.5 / plan.macs for plan in self.methods)

    @property
    def seconds(self) -> float | None:
        """Predicted wall time of all trainings, seeds included and each trunk trained once; None where not measured."""
        if self.device is None:
            return None
        trunk = self.methods[0]
        saved = sum(plan.branch for plan in self.methods) / trunk.epochs * trunk.seconds
        return self.seeds * (sum(plan.seconds for plan in self.methods) - saved)

    def to_json(self) -> dict[str, Any]:
        """Plain data; seconds are null where not measured."""
        return {
            "dataset": self.dataset,
            "space": self.space,
            "train_images": self.images,
            "classes": self.classes,
            "batch_size": self.batch_size,
            "seeds": self.seeds,
            "device": self.device,
            "relative_standard_error": self.error,
            "seconds": self.seconds,
            "methods": {plan.method: self._method_json(plan) for plan in self.methods},
        }

    def _method_json(self, plan: MethodPlan) -> dict[str, Any]:
        hours, base = self.published.get(plan.method), self.published.get("deps")
        keys = ("name", "epochs", "subnets", "macs", "seconds")
        return {
            "epochs": plan.epochs,
            "phases": [{key: getattr(phase, key) for key in keys} for phase in plan.phases],
            "macs": plan.macs,
            "relative_to_deps": self.relative(plan),
            "seconds": plan.seconds,
            "published_gpu_hours": hours,
            "published_relative_to_deps": None if hours is None else hours / base,
        }

    def bars(self) -> list[Bar]:
        """For `dεps.reporting.timeline`."""
        from dεps.reporting.timeline import Bar, Span

        def span(phase: PhasePlan) -> Span:
            return Span(phase.name, phase.start, phase.end, phase.full, phase.teacher, phase.weights, phase.subnets)

        return [Bar(plan.method, tuple(map(span, plan.phases))) for plan in self.methods]


def plan_experiments(params: dict[str, Any], steps: int) -> list[ExperimentPlan]:
    """The plan of every selected experiment of checked params, `steps` steps of each phase measured (0: none).

    Raises `UserError` where the number of training images is not known.
    """
    return [plan_experiment(params, name, steps) for name in params["names"]]


def plan_experiment(params: dict[str, Any], name: str, steps: int) -> ExperimentPlan:
    """The plan of one experiment; see `plan_experiments`."""
    where, own = f"experiments.{name}", section(params, "experiments", name)
    space = structured(SearchSpace, own["space"], f"{where}.space")
    config = structured(TrainConfig, own["train"], f"{where}.train")
    kept = structured(FullModelConfig, own["full_model"], f"{where}.full_model").epochs(config.epochs)
    images, classes = training_set(own["dataset"], name)
    channels = own["dataset"]["channels"]
    setup = config.setup_for(space, images)
    strategies: dict[str, Strategy] = {FULL_MODEL: full_model.build(full_model.Options(), setup)}
    for method in params["methods"]:
        strategies[method] = registry.build(own["methods"][method], f"{where}.methods.{method}", setup)
    macs_of, seed = macs_counter(space, classes, channels), params["seeds"][0]
    plans = []
    for method, strategy in strategies.items():
        phases = _count(strategy, setup, config.batch_size, macs_of, seed)
        trunk = 0 if method == FULL_MODEL else strategy.trunk_steps // setup.steps_per_epoch
        plans.append(MethodPlan(method, phases, max((epoch for epoch in kept if epoch <= trunk), default=0)))
    device = None
    if steps:
        measuring = _Measuring(space, config, classes, channels, seed, steps)
        plans, device = measuring.timed(plans, strategies, f"plan {name}: measuring steps"), measuring.device
    hours = {method: cost.gpu_hours for method, cost in training_costs().items()}
    return ExperimentPlan(
        name,
        own["dataset"]["name"],
        space.name,
        images,
        classes,
        config.batch_size,
        len(params["seeds"]),
        tuple(plans),
        hours if dataset_of(own) == COST_DATASET else {},
        device,
    )


def training_set(dataset: dict[str, Any], experiment: str, data: Path = Path("data")) -> tuple[int, int]:
    """Training images after the holdout, and classes, of an experiment's `dataset` section.

    From the prepared data where they are of this data set, else from what is known of it or what the section says.
    Raises `UserError` naming the keys to set.
    """
    path = data / experiment / "manifest.json"
    if path.exists():
        manifest = read_json(path)
        if all(manifest.get(key) == dataset[key] for key in ("source", "name", "size", "channels")):
            return manifest["images"]["train"], len(manifest["classes"])
    if dataset["source"] == "fashion_mnist_mini":
        arrays, names = read_fashion_mnist_mini()
        return len(arrays["train"][0]), len(names)
    images, classes = dataset.get("train_images"), dataset.get("class_count")
    for key, value in (("train_images", images), ("class_count", classes)):
        if not value:
            full = f"experiments.{experiment}.dataset.{key}"
            raise UserError(
                f"{full} is not set and {path} is not there; set it, or run 'dvc repro prepare@{experiment}'"
            )
    return round(images * _left(dataset)), classes


def _left(dataset: dict[str, Any]) -> float:
    """Share of the source's training images that is left when validation, and a missing test, are held out."""
    left, folders = 1.0 - dataset["holdout"], dataset.get("splits") or {}
    if dataset["source"] == "image_folder":
        if folders.get("validation") and (Path(dataset["root"]) / folders["validation"]).is_dir():
            left = 1.0
        if folders.get("test", "test") is None:
            left *= 1.0 - dataset["holdout"]
    return left


# --- cost --------------------------------------------------------------------------------------------------------


def _count(
    strategy: Strategy, setup: Setup, batch: int, macs_of: Callable[[Arch], int], seed: int
) -> tuple[PhasePlan, ...]:
    """Every phase with its training cost as `Trainer` counts it, and what its steps train."""
    plans, teacher, per_epoch = [], False, setup.steps_per_epoch
    for phase in strategy.phases():
        teacher = teacher or phase.freeze_teacher
        chosen = _sample(phase)
        terms = [strategy.terms(step, python_rng(seed, "archs", step)) for step in chosen]
        taught = macs_of(setup.space.largest()) if teacher else 0
        costs = [taught + FORWARD_BACKWARD * sum(macs_of(term.arch) for term in step) for step in terms]
        steps = phase.end - phase.start
        if len(costs) == steps:
            macs, error = sum(costs), 0.0
        else:
            macs, error = round(fmean(costs) * steps), stdev(costs) / len(costs) ** 0.5 * steps
        full = all(step[0].arch == setup.space.largest() for step in terms)
        weights = [(step / per_epoch, own[-1].weight) for step, own in zip(chosen, terms, strict=True) if own[full:]]
        plans.append(
            PhasePlan(
                phase.name,
                phase.start / per_epoch,
                phase.end / per_epoch,
                max(map(len, terms)),
                batch * macs,
                batch * error,
                full,
                teacher,
                _corners([*weights, (phase.end / per_epoch, weights[-1][1])]) if weights else (),
            )
        )
    return tuple(plans)


def _sample(phase: Phase) -> list[int]:
    """The steps whose cost is counted: all of them, or evenly spaced ones with the first among them."""
    steps = phase.end - phase.start
    if steps <= EXACT_STEPS:
        return list(range(phase.start, phase.end))
    return [phase.start + number * steps // SAMPLE for number in range(SAMPLE)]


def _corners(line: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The line without the points on level stretches."""
    level = {n for n in range(1, len(line) - 1) if line[n - 1][1] == line[n][1] == line[n + 1][1]}
    return tuple(point for number, point in enumerate(line) if number not in level)


# --- wall time ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """One phase of a strategy as a strategy of its own, beginning at step 0."""

    strategy: Strategy
    phase: Phase
    teacher: bool
    trunk_steps: int = 0

    @property
    def kernel_transform(self) -> bool:
        return self.strategy.kernel_transform

    @property
    def space(self) -> SearchSpace:
        return self.strategy.space

    def phases(self) -> Sequence[Phase]:
        phase = self.phase
        schedule = replace(phase.schedule, start=phase.schedule.start - phase.start)
        # As long as can be: a trainer that comes to its end validates.
        return [replace(phase, start=0, end=10**9, schedule=schedule, freeze_teacher=self.teacher)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        last = self.phase.end - 1
        return self.strategy.terms(min(self.phase.start + step, last), rng)


class _Noise(PreparedData):
    """Random images held in memory, with the interface of prepared data."""

    def __init__(self, images: int, classes: int, size: int, channels: int) -> None:
        self.folder, self.config = Path(), DatasetConfig("noise", "fashion_mnist_mini", size, channels, workers=0)
        self.manifest = {
            "classes": [str(number) for number in range(classes)],
            "channels": channels,
            "size": size,
            "mean": [0.5] * channels,
            "std": [0.25] * channels,
        }
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (images, size, size, channels), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, classes, (images,), generator=generator)
        self.train = self.validation = Split(labels, pixels, None, None, size, channels, classes)


@dataclass(frozen=True)
class _Measuring:
    """Seconds per MAC of training steps on this machine."""

    space: SearchSpace
    config: TrainConfig
    classes: int
    channels: int
    seed: int
    steps: int

    @property
    def device(self) -> str:
        """Name of the processor in use."""
        if self._cuda:
            return torch.cuda.get_device_name()
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' if threads > 1 else ''}"

    @property
    def _cuda(self) -> bool:
        return (best_device().type if self.config.device == "auto" else self.config.device) == "cuda"

    def timed(self, plans: Sequence[MethodPlan], strategies: dict[str, Strategy], label: str) -> list[MethodPlan]:
        """The plans with the predicted seconds of every phase."""
        deterministic()  # as the stages train
        full_alone: float | None = None
        timed = []
        with ProgressBar(label, sum(len(plan.phases) for plan in plans)) as bar:
            for plan in plans:
                strategy, phases = strategies[plan.method], []
                for planned, phase in zip(plan.phases, strategy.phases(), strict=True):
                    if planned.weights or full_alone is None:
                        rate = self._seconds_per_mac(_Cut(strategy, phase, planned.teacher), planned)
                    else:
                        rate = full_alone
                    full_alone = full_alone if planned.weights else rate
                    phases.append(replace(planned, seconds=rate * planned.macs))
                    bar.advance()
                timed.append(replace(plan, phases=tuple(phases)))
        return timed

    def _seconds_per_mac(self, strategy: _Cut, planned: PhasePlan) -> float:
        """From `steps` steps after a first one that is thrown away, augmentation included."""
        batch = self._images(strategy, planned)
        size = self.space.resolution[-1]
        data = _Noise(batch * (self.steps + 1), self.classes, size, self.channels)
        config = replace(self.config, batch_size=batch, validate_every=10**9, teacher_recalibration=CPU_IMAGES)
        trainer = Trainer(self.space, data, config, strategy, self.seed)
        marks: list[tuple[float, int]] = []

        def mark() -> None:
            if self._cuda:
                torch.cuda.synchronize()
            marks.append((time.perf_counter(), trainer.macs))

        trainer.on_step = mark
        next(trainer.run())
        (began, before), (ended, after) = marks[0], marks[-1]
        return (ended - began) / (after - before)

    def _images(self, strategy: _Cut, planned: PhasePlan) -> int:
        """Images of a measured step: the whole batch where that is quick, since a step has costs of its own."""
        if self._cuda:
            return min(self.config.batch_size, CUDA_IMAGES)
        terms = strategy.terms(0, python_rng(self.seed, "archs", 0))
        macs_of = macs_counter(self.space, self.classes, self.channels)
        quick = CPU_MACS // (FORWARD_BACKWARD * sum(macs_of(term.arch) for term in terms))
        return min(self.config.batch_size, max(CPU_IMAGES, quick))


# --- output ---------------------------------------------------------------------------------------------


def to_json(plans: Sequence[ExperimentPlan]) -> str:
    """All plans as one JSON object."""
    return json.dumps({"experiments": {plan.name: plan.to_json() for plan in plans}}, indent=1, ensure_ascii=False)


def save_figure(plans: Sequence[ExperimentPlan], path: Path) -> None:
    """Draw the timelines of all experiments into one of `FIGURE_FILES`."""
    import matplotlib.pyplot as plt

    from dεps.reporting.style import STYLE
    from dεps.reporting.timeline import figure

    with plt.style.context(STYLE):
        drawn = figure([(f"{plan.name} ({plan.dataset}, {plan.space})", plan.bars()) for plan in plans])
        replace_atomic(path, lambda temporary: drawn.savefig(temporary, format=path.suffix[1:]))


def print_plan(plans: Sequence[ExperimentPlan]) -> None:
    """A table an experiment, on stdout."""
    from rich.console import Console
    from rich.table import Table

    from dεps.reporting.style import label

    console = Console(width=None if Console().is_terminal else 120)
    for plan in plans:
        title = f"{plan.name}: {plan.dataset}, {plan.space}, {plan.images:,} training images, {plan.classes:,} classes"
        table = Table(title=f"{title}, batches of {plan.batch_size}", title_justify="left")
        table.add_column("method", no_wrap=True)
        table.add_column("epochs", justify="right")
        table.add_column("phases (epochs)")
        table.add_column("subnets a step")
        table.add_column("training (MACs)", justify="right")
        table.add_column("× DεpS", justify="right")
        if plan.device:
            table.add_column("time here", justify="right")
        if plan.published:
            table.add_column("published GPU-h (× DεpS)", justify="right")
        for method in plan.methods:
            relative, hours = plan.relative(method), plan.published.get(method.method)
            row = [
                label(method.method),
                f"{method.epochs:g}",
                " → ".join(f"{phase.name} ({phase.epochs:g})" for phase in method.phases),
                " → ".join(str(phase.subnets) for phase in method.phases),
                units(method.macs),
                "–" if relative is None else f"{relative:.2f}",
            ]
            row += [duration(method.seconds)] if plan.device else []
            if plan.published:
                row.append("–" if hours is None else f"{hours:,.0f} ({hours / plan.published['deps']:.2f})")
            table.add_row(*row)
        console.print(table)
        console.print(notes(plan), highlight=False, soft_wrap=False)


def notes(plan: ExperimentPlan) -> str:
    """What a reader has to know about the table."""
    text = "Training cost: forward and backward of every step, the full model's part and frozen teachers included"
    text += f", first seed; sampled steps, standard error {100 * plan.error:.1g} %." if plan.error else ", first seed."
    if plan.device:
        text += (
            f" Time: from measured steps ({plan.device}), without validation and later stages; all {plan.seeds} seed"
        )
        text += f"{'s' if plan.seeds > 1 else ''} of all methods, the trunk shared: {duration(plan.seconds)}."
    if plan.published:
        text += " Published: ImageNet-1k, arXiv 2407.06167."
    return text


def units(macs: float) -> str:
    """Three digits and an SI prefix."""
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if macs >= 0.9995 * factor:
            value = macs / factor
            return f"{value:.{max(0, 2 - len(str(int(value + 0.5))) + 1)}f} {prefix}"
    return f"{macs:.0f}"


def duration(seconds: float) -> str:
    """Two digits or so, in the unit that suits."""
    for factor, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * factor:
            return f"{seconds / factor:.{1 if seconds < 10 * factor else 0}f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
