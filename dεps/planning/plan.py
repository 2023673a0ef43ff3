"""Plans an experiment before anything runs: what each method would train, and what that costs (`deps plan`).

Training cost is counted as `dεps.training.loop.Trainer` counts it, by asking the method what each step trains. Wall
time is predicted from a few real steps of each phase on made-up images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from dεps.core.errors import AbsentError, UserError
from dεps.core.params import read_params, section
from dεps.core.randomness import python_rng
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.data.manifest import SPLITS, prepared_folder, read_manifest
from dεps.deploy.export.config import Budget, ExportConfig
from dεps.methods import full_model, registry, standalone
from dεps.methods.base import Method, Phase, Setup
from dεps.methods.finetune import FineTuneConfig
from dεps.planning.measure import Measuring
from dεps.planning.training_plan import MethodPlan, PhasePlan, total
from dεps.report.published import COST_DATASET, dataset_of, gpu_hours
from dεps.sources.prepare import divided
from dεps.sources.registry import source_of
from dεps.spaces.cost import FORWARD_BACKWARD, macs_counter
from dεps.spaces.space import Arch, SearchSpace
from dεps.training.config import FullModelConfig, TrainConfig
from dεps.workspace.identity import FULL_MODEL

#: in a phase of more than EXACT_STEPS only SAMPLE steps are counted, evenly spaced
EXACT_STEPS, SAMPLE = 5000, 1000


@dataclass(frozen=True)
class ExperimentPlan:
    """The plans of all methods of one experiment, first that of the full model alone."""

    name: str
    dataset: str
    space: str
    images: int
    classes: int
    batch_size: int
    seeds: int
    methods: tuple[MethodPlan, ...]
    #: published GPU-hours by method; empty for other data than the paper's
    published: Mapping[str, float]
    #: name of the device that steps were measured on; None where they were not
    device: str | None
    #: MACs of training each arch alone that is selected, by its text
    alone: Mapping[str, int]
    #: MACs at most of fine-tuning under each budget that is selected, once a method and seed
    finetuned: Mapping[str, int]
    #: of the fine-tuning, in words
    finetune: str

    def relative(self, method: MethodPlan) -> float | None:
        """Training cost as a multiple of DεpS's; None where that is not among the methods."""
        deps = next((plan for plan in self.methods if plan.method == "deps"), None)
        return None if deps is None else method.macs / deps.macs

    @property
    def error(self) -> float:
        """Largest relative standard error of the methods' training costs."""
        return max(sum(phase.error**2 for phase in plan.phases) ** 0.5 / plan.macs for plan in self.methods)

    @property
    def seconds(self) -> float | None:
        """Predicted wall time of all methods and seeds, each trunk trained once; None where not measured."""
        trunk, whole = self.methods[0], total(plan.seconds for plan in self.methods)
        if whole is None or trunk.seconds is None:
            return None
        saved = sum(plan.branch for plan in self.methods) / trunk.epochs * trunk.seconds
        return self.seeds * (whole - saved)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data; seconds are None where not measured."""
        found = {"dataset": self.dataset, "space": self.space, "train_images": self.images, "classes": self.classes}
        found |= {"batch_size": self.batch_size, "seeds": self.seeds, "device": self.device}
        found |= {"relative_standard_error": self.error, "seconds": self.seconds}
        found |= {"standalone_macs": dict(self.alone), "finetuned_macs_at_most": dict(self.finetuned)}
        return found | {"methods": {plan.method: self._method_json(plan) for plan in self.methods}}

    def _method_json(self, plan: MethodPlan) -> dict[str, Any]:
        hours = self.published.get(plan.method)
        keys = ("name", "epochs", "subnets", "macs", "seconds")
        return {
            "epochs": plan.epochs,
            "phases": [{key: getattr(phase, key) for key in keys} for phase in plan.phases],
            "macs": plan.macs,
            "relative_to_deps": self.relative(plan),
            "seconds": plan.seconds,
            "published_gpu_hours": hours,
            "published_relative_to_deps": None if hours is None else hours / self.published["deps"],
        }


def plan_experiments(params: dict[str, Any], steps: int) -> list[ExperimentPlan]:
    """The plans of all selected experiments; `steps` steps of each phase are measured, 0 for none.

    Raises `UserError` where the number of training images is not known.
    """
    return [plan_experiment(params, name, steps) for name in params["names"]]


def plan_experiment(params: dict[str, Any], name: str, steps: int) -> ExperimentPlan:
    """The plan of one experiment; see `plan_experiments`."""
    where, own = f"experiments.{name}", section(params, "experiments", name)
    space = structured(SearchSpace, own["space"], f"{where}.space")
    config = structured(TrainConfig, own["train"], f"{where}.train")
    kept = structured(FullModelConfig, own["full_model"], f"{where}.full_model").epochs(config.epochs)
    dataset = structured(DatasetConfig, own["dataset"], f"{where}.dataset")
    images, classes = training_set(dataset, name)
    setup = config.setup_for(space, images)
    methods: dict[str, Method] = {FULL_MODEL: full_model.build(full_model.Options(), setup)}
    for label in params["methods"]:
        methods[label] = registry.build(own["methods"][label], f"{where}.methods.{label}", setup)
    macs_of, seed = macs_counter(space, classes, dataset.channels), params["seeds"][0]
    plans, counting = [], (setup, config.batch_size, macs_of, seed)
    for label, method in methods.items():
        phases = _count(method, *counting)
        trunk = 0 if label == FULL_MODEL else method.trunk_steps // setup.steps_per_epoch
        plans.append(MethodPlan(label, phases, max((epoch for epoch in kept if epoch <= trunk), default=0)))
    alone = {
        text: _cost_of(standalone.build(standalone.Options(text), setup), *counting) for text in params["standalone"]
    }
    finetune = structured(FineTuneConfig, own["finetune"], f"{where}.finetune")
    export = structured(ExportConfig, own["export"], f"{where}.export")
    limits = {budget.name: budget for budget in export.budgets if budget.name in params["finetuned"]}
    finetuned = {name: _finetuning(limits[name], finetune, *counting[:3]) for name in params["finetuned"]}
    device = None
    if steps:
        measuring = Measuring(space, config, classes, dataset.channels, seed, steps)
        plans, device = measuring.timed(plans, methods, f"plan {name}: measuring steps"), measuring.device
    published = gpu_hours() if dataset_of(own) == COST_DATASET else {}
    sizes = images, classes, config.batch_size, len(params["seeds"])
    beside = alone, finetuned, str(finetune)
    return ExperimentPlan(name, dataset.name, space.name, *sizes, tuple(plans), published, device, *beside)


def _cost_of(method: Method, setup: Setup, batch: int, macs_of: Callable[[Arch], int], seed: int) -> int:
    return sum(phase.macs for phase in _count(method, setup, batch, macs_of, seed))


def _finetuning(
    budget: Budget, config: FineTuneConfig, setup: Setup, batch: int, macs_of: Callable[[Arch], int]
) -> int:
    """MACs of fine-tuning an arch that takes all of the budget: which it will be, `export` decides later."""
    least, most = (macs_of(arch) for arch in (setup.space.smallest(), setup.space.largest()))
    limit = budget.macs(least, most)
    own = most if limit is None else min(limit, most)
    taught = most if config.teacher == "full_model" else 0
    return config.epochs * setup.steps_per_epoch * batch * (taught + FORWARD_BACKWARD * own)


def _root_of_params(experiment: str) -> str | None:
    """The images' root in `params.yaml`, which says what was prepared; None where it names none."""
    try:
        return section(read_params(), "experiments", experiment, "dataset").get("root")
    except UserError:
        return None


def training_set(config: DatasetConfig, experiment: str) -> tuple[int, int]:
    """Number of training images after the holdout, and of classes, for a `dataset` section.

    Taken from the prepared data, where that is of this section; else from the images, where they are there, divided as
    stage `prepare` would; else from `train_images` and `class_count`. Raises `UserError` naming the keys to set, or
    what is wrong with the images.
    """
    path = prepared_folder(experiment) / "manifest.json"
    if path.exists() and _root_of_params(experiment) in (None, config.root):
        with suppress(UserError):  # of an older or a damaged one
            manifest = read_manifest(path.parent, config)
            return manifest["images"]["train"], len(manifest["classes"])
    with suppress(AbsentError):
        found = divided(config)
        return len(found.listings["train"]), len(found.classes)
    images, classes = config.train_images, config.class_count
    if not images or not classes:
        key, full = "class_count" if images else "train_images", f"experiments.{experiment}.dataset"
        raise UserError(f"{full}.{key} is not set and {config.location()} is not there; set it, or {full}.root")
    held_out = len(SPLITS) - len(source_of(config).own_splits())
    return round(images * (1.0 - config.holdout) ** held_out), classes


def _count(
    method: Method, setup: Setup, batch: int, macs_of: Callable[[Arch], int], seed: int
) -> tuple[PhasePlan, ...]:
    """Plans of a method's phases: training cost as `Trainer` counts it, and what the steps train."""
    plans, teacher, per_epoch = [], False, setup.steps_per_epoch
    for phase in method.phases():
        teacher = teacher or phase.freeze_teacher
        chosen = _sample(phase)
        terms = [method.terms(step, python_rng(seed, "archs", step)) for step in chosen]
        sizes = [_image_size(method, step, seed) for step in chosen]
        costs = [
            FORWARD_BACKWARD * sum(macs_of(term.arch.at(size)) for term in step)
            + (macs_of(setup.space.largest().at(size)) if teacher else 0)
            for step, size in zip(terms, sizes, strict=True)
        ]
        steps = phase.end - phase.start
        if len(costs) == steps:
            macs, error = sum(costs), 0.0
        else:
            macs, error = round(fmean(costs) * steps), stdev(costs) / len(costs) ** 0.5 * steps
        full = all(step[0].arch == setup.space.largest() for step in terms)
        start, end = phase.start / per_epoch, phase.end / per_epoch
        weights = [(step / per_epoch, own[-1].weight) for step, own in zip(chosen, terms, strict=True) if own[full:]]
        corners = _corners([*weights, (end, weights[-1][1])]) if weights else ()
        known = (phase.name, start, end, full, teacher, corners, max(map(len, terms)))
        plans.append(PhasePlan(*known, macs=batch * macs, error=batch * error))
    return tuple(plans)


def _image_size(method: Method, step: int, seed: int) -> int:
    """Side of a step's images, as `Trainer` draws it: whatever an arch was drawn with, it sees the batch."""
    choices = method.resolution
    return choices[0] if len(choices) == 1 else python_rng(seed, "resolution", step).choice(choices)


def _sample(phase: Phase) -> list[int]:
    """Steps whose cost is counted: all of them, or evenly spaced ones from the first on."""
    steps = phase.end - phase.start
    if steps <= EXACT_STEPS:
        return list(range(phase.start, phase.end))
    return [phase.start + number * steps // SAMPLE for number in range(SAMPLE)]


def _corners(line: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Drop the points of a line that lie inside level stretches."""
    level = {n for n in range(1, len(line) - 1) if line[n - 1][1] == line[n][1] == line[n + 1][1]}
    return tuple(point for number, point in enumerate(line) if number not in level)
