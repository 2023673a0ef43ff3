"""Reads all results of one experiment from the stages' output files, as pandas frames."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import model_validator

from dεps.core.errors import UserError
from dεps.core.files import read_json, read_numbers, read_records
from dεps.core.params import section, selected
from dεps.core.schema import check_plain, checked, structured
from dεps.core.tables import records, rows_where
from dεps.core.tensors import read_tensors
from dεps.data.manifest import prepared_folder, read_manifest
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.choice import Cost, remarks
from dεps.spaces.cost import macs_counter
from dεps.spaces.space import SearchSpace
from dεps.workspace.identity import FINETUNE, FULL_MODEL
from dεps.workspace.outputs import (
    CLASSES,
    CONFIRMATION,
    CONFUSION,
    EVALUATED,
    EXAMPLES,
    FINETUNED,
    FRONT,
    HISTORY,
    IMPORTANCE,
    METRICS,
    MODELS,
    OWN_COST,
    PARETO,
    PICTURES,
    POPULATION,
    PREDICTIONS,
    STANDALONE,
    SUMMARY,
    TRAIN_COST,
    TRIAL_CURVES,
    TRIAL_POINTS,
    TRIALS,
    Table,
)
from dεps.workspace.tables import CURE

RUNS = Path("runs")
#: top-1 of the largest subnet, which the full model is, on test
LARGEST = "pareto/largest_top1"
#: keys that each stage's file of metrics must hold
NEEDED = {
    ("train", SUMMARY): (TRAIN_COST.key,),
    ("evaluate", METRICS): tuple(metric.key for metric in EVALUATED if metric.shown),
    ("predict", METRICS): tuple(
        f"predictor/{name}kendall_tau{end}" for name in ("", "macs_", "ceiling_") for end in ("", "_std")
    ),
    ("search", METRICS): (),
}


def _of_runs(kind: Table) -> cached_property[pd.DataFrame]:
    """The tables of all methods and seeds, one below the other, with columns `method` and `seed`."""

    def read(results: Results) -> pd.DataFrame:
        folder = results.folder / kind.stage
        tables = [
            kind.read(folder / f"{method}-{seed}").assign(method=method, seed=seed) for method, seed in results.runs
        ]
        return pd.concat(tables, ignore_index=True)

    return cached_property(read)


def _of_study(kind: Table) -> cached_property[pd.DataFrame]:
    return cached_property(lambda results: kind.read(results.study_folder))


@checked
class _FineTuned:
    """What `models.json` of stage `finetune` says beside the card."""

    gain: dict[Literal["validation", "test"], dict[str, float | bool]]
    cost: dict[str, float]

    @model_validator(mode="after")
    def _whole(self) -> _FineTuned:
        needed = {"cost": (OWN_COST, TRAIN_COST.key)}
        needed |= {f"gain.{split}": ("before", "after", "points", "error") for split in ("validation", "test")}
        there = {"cost": self.cost, **{f"gain.{split}": own for split, own in self.gain.items()}}
        for where, keys in needed.items():
            if missing := [key for key in keys if key not in there.get(where, {})]:
                raise ValueError(f"{where} has no {missing[0]}; run the stage 'finetune' again")
        return self


def _of(facts: Any) -> dict[str, Any]:
    return {key: facts[key] for key in ("gain", "cost") if isinstance(facts, dict) and key in facts}


@dataclass(frozen=True)
class Results:
    """One experiment: its name, selected methods and seeds, and its section of params."""

    experiment: str
    methods: list[str]
    seeds: list[int]
    params: dict[str, Any]
    #: budgets whose exported subnets are fine-tuned
    budgets: tuple[str, ...] = ()
    #: whether it computes the bits that all x86-64 processors have in common: not of the section, and decides too
    portable: bool = False

    @property
    def folder(self) -> Path:
        """Folder that the stages of this experiment write to."""
        return RUNS / self.experiment

    @property
    def title(self) -> str:
        """The experiment as tables and the page call it."""
        return self.experiment

    @property
    def slug(self) -> str:
        """The same as a part of addresses on the page."""
        return self.experiment

    @property
    def origin(self) -> str:
        """Sentence that says where results come from that were not made here; empty for those that were."""
        return ""

    @property
    def left_out(self) -> str:
        """What there is of the experiment and is not shown, with what it lacks; empty where that is nothing."""
        return ""

    @property
    def every(self) -> Results:
        """The same and the methods that only some seeds have: for what compares by the seeds that two share."""
        return self

    @property
    def compared(self) -> Results:
        """The same without variants of a method that is there too, such as `deps_early`, if others remain to compare.

        For figures with a line a method, which cannot hold them all: variants stand in those with a row a method.
        """
        own = self.params["methods"]
        kept = [name for name in self.methods if (base := own[name]["method"]) == name or base not in self.methods]
        return replace(self, methods=kept) if 1 < len(kept) < len(self.methods) else self

    def commit_to_add(self, methods: Collection[str]) -> str:
        """Commit whose code further seeds of these methods have to be of; empty where that is the code here."""
        return ""

    @property
    def notes(self) -> pd.DataFrame:
        """What trainings have noted of time and place, a row each; empty here, since results say nothing of either."""
        return pd.DataFrame()

    def file(self, stage: str, instance: str, name: str) -> Path:
        """The file that holds what a stage's file `name` says; `instance` is empty where there is only one."""
        return self.folder / stage / instance / name

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Each method with each seed."""
        return list(product(self.methods, self.seeds))

    _evaluated = _of_runs(PARETO)

    @cached_property
    def pareto(self) -> pd.DataFrame:
        """Pareto points of each method and seed: name, arch, macs, params, val_top1, test_top1 (percent)."""
        return rows_where(self._evaluated, self._evaluated.pareto.astype(bool))

    @cached_property
    def space(self) -> SearchSpace:
        """The experiment's search space."""
        return structured(SearchSpace, self.params["space"], f"experiments.{self.experiment}.space")

    @cached_property
    def space_points(self) -> pd.DataFrame:
        """Pareto points of the whole space: name, arch, macs; the full model comes last."""
        count = macs_counter(self.space, len(self.manifest["classes"]), self.manifest["channels"])
        points = self.space.pareto_archs().items()
        return pd.DataFrame([(name, str(arch), count(arch)) for name, arch in points], columns=["name", "arch", "macs"])

    @cached_property
    def other_archs(self) -> dict[str, tuple[str, ...]]:
        """Archs of the Pareto points, by method, of those methods whose points differ from the whole space's."""
        usual = set(self.space_points.arch)
        points = self.pareto.groupby("method", sort=False).arch.unique().map(tuple).to_dict()
        return {method: archs for method, archs in points.items() if set(archs) != usual}

    #: random archs: bucket, arch, macs, params, val_top1, test_top1 (percent)
    population = _of_runs(POPULATION)
    #: measured archs: arch, macs, measured, and predicted by a predictor that has not seen them (percent)
    predictions = _of_runs(PREDICTIONS)
    #: archs found by search: arch, macs, params, predicted, measured (percent, empty where not measured)
    searched = _of_runs(FRONT)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Training records, one row per method, seed and epoch; `full_model` counts as a method."""
        frames = []
        for method, seed in product([FULL_MODEL, *self.methods], self.seeds):
            name = f"{FULL_MODEL}/{seed}" if method == FULL_MODEL else f"train/{method}-{seed}"
            records = read_records(self.folder / name / HISTORY, "epoch", TRAIN_COST.key)
            frames.append(pd.DataFrame(records).assign(method=method, seed=seed))
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics of all stages, and the training cost, one row per method and seed."""
        rows = []
        for method, seed in self.runs:
            row: dict[str, Any] = {"method": method, "seed": seed}
            for (stage, file), names in NEEDED.items():
                row |= read_numbers(self.folder / stage / f"{method}-{seed}" / file, *names)
            rows.append(row)
        return pd.DataFrame(rows)

    def full_model_top1(self, seed: int) -> float:
        """Top-1 on test of the full model trained alone, in percent. Raises `UserError` where it is not measured."""
        return read_numbers(self.folder / "reference" / FULL_MODEL / f"{seed}.json", LARGEST)[LARGEST]

    @cached_property
    def reference(self) -> dict[str, float]:
        """Test top-1 (percent) of the full model alone and of logistic regression, as metrics."""
        names = [f"reference/{name}" for name in ("full_model_top1", "full_model_top1_std", "logistic_regression_top1")]
        return read_numbers(self.folder / "reference" / METRICS, *names)

    @cached_property
    def standalone(self) -> pd.DataFrame:
        """Archs trained alone, one row per arch and seed: name, arch, macs, params, seed, test_top1, train_tmacs."""
        table = STANDALONE.read(self.folder / "reference")
        runs = [self.folder / "standalone" / f"{row['standalone']}-{row['seed']}" for row in records(table)]
        costs = [read_numbers(run / SUMMARY, TRAIN_COST.key)[TRAIN_COST.key] for run in runs]
        return table.assign(train_tmacs=costs)

    @cached_property
    def models(self) -> pd.DataFrame:
        """Exported models: method, seed, budget, macs, params, ms, by, validation, test, remark; empty without any.

        `ms` is None, and `by` empty, where no latency table predicts it.
        """
        rows = []
        for path in self.model_files:
            for budget, facts in read_json(path, "the stage 'export'").items():
                check_plain(facts, where := f"{path}: {budget}")
                card = ModelCard.from_facts(facts, where)
                row = {"method": card.method, "seed": card.seed, "budget": budget, "macs": card.macs}
                cost = Cost.of(facts, where)
                row |= {
                    "params": card.params,
                    "ms": cost.ms,
                    "by": cost.predicted_by,
                    "validation": card.percent("val"),
                    "test": card.percent("test"),
                }
                rows.append(row | {"remark": "; ".join(remarks(facts, where))})
        return pd.DataFrame(rows)

    @property
    def model_files(self) -> list[Path]:
        """Files that describe exported models, one per method and seed for which stage `export` has run."""
        paths = (self.folder / "export" / f"{method}-{seed}" / MODELS for method, seed in self.runs)
        return [path for path in paths if path.exists()]

    @cached_property
    def finetuned(self) -> pd.DataFrame:
        """Fine-tuned subnets, a row a method, budget and seed; empty without any.

        Columns: method, budget, seed, arch, macs, how (in words), `<split>_before`, `_top1` (percent), `_points` and
        `_error` (points) of validation and test, own_tmacs, train_tmacs.
        """
        rows = []
        for path in self.finetuned_files:
            for name, facts in read_json(path, "the stage 'finetune'").items():
                check_plain(facts, where := f"{path}: {name}")
                card, found = ModelCard.from_facts(facts, where), structured(_FineTuned, _of(facts), where)
                row = {"method": card.method, "budget": name.removesuffix(FINETUNED), "seed": card.seed}
                row |= {"arch": card.arch, "macs": card.macs, "how": card.finetuned or ""}
                for split, gain in found.gain.items():
                    row |= {f"{split}_before": gain["before"], f"{split}_top1": gain["after"]}
                    row |= {f"{split}_{key}": gain[key] for key in ("points", "error")}
                cost = found.cost
                rows.append(row | {"own_tmacs": cost[OWN_COST], "train_tmacs": cost[TRAIN_COST.key]})
        return pd.DataFrame(rows)

    @property
    def finetuned_files(self) -> list[Path]:
        """Files that describe fine-tuned models, one per method, selected budget and seed that have run."""
        paths = (
            self.folder / FINETUNE / f"{method}-{budget}-{seed}" / MODELS
            for method, budget, seed in product(self.methods, self.budgets, self.seeds)
        )
        return [path for path in paths if path.exists()]

    @property
    def has_exports(self) -> bool:
        """Whether stage `export` has run for the first method and seed, and says what is right and wrong by class."""
        return any((self._exported / table.file).exists() for table in (CLASSES, CONFUSION, EXAMPLES))

    @property
    def _exported(self) -> Path:
        method, seed = self.runs[0]
        return self.folder / CLASSES.stage / f"{method}-{seed}"

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Classes under the first method's exported subnets: budget, class, images by split, val_top1, test_top1."""
        return CLASSES.read(self._exported)

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """How often each class was taken for which by these, on test: budget, label, answer, images."""
        return CONFUSION.read(self._exported)

    @cached_property
    def examples(self) -> pd.DataFrame:
        """Validation images that the largest of these gets wrong, or just right: label, answer, probability, right."""
        return EXAMPLES.read(self._exported)

    @cached_property
    def pictures(self) -> np.ndarray:
        """The same images: uint8 (images, height, width, channels)."""
        found = read_tensors(self._exported / PICTURES, "file of pictures", CURE).get("pictures")
        if found is None or found.ndim != 4 or len(found) != len(self.examples):
            raise UserError(f"{self._exported / PICTURES} has no pictures of {EXAMPLES.file}; {CURE}")
        return found.numpy()

    @property
    def study_folder(self) -> Path:
        """Folder of the study's files."""
        return self.folder / "tune"

    @property
    def has_study(self) -> bool:
        """Whether stage `tune` has run trials."""
        path = self.study_folder / SUMMARY
        return path.exists() and read_numbers(path, "tune/trials")["tune/trials"] > 0

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Trials of the study: point, state, options, val_top1 and the like (percent), train_tmacs, front, best."""
        table = TRIALS.read(self.study_folder)
        return table.assign(point=table.point.fillna(""))

    #: Pareto points of the complete trials: trial, name, macs, val_top1 (percent)
    trial_points = _of_study(TRIAL_POINTS)
    #: training records of the trials, one row per trial and epoch that it trained itself
    trial_curves = _of_study(TRIAL_CURVES)
    #: default and best trial on seeds that did not choose: seed, and val_top1 and the like of both (percent)
    confirmation = _of_study(CONFIRMATION)
    #: share of the variance of accuracy and of cost that each option explains: option, accuracy, cost
    importance = _of_study(IMPORTANCE)

    @cached_property
    def study(self) -> dict[str, float]:
        """Metrics of the study."""
        counts = ("trials", "pruned", "trained_tmacs", "from_scratch_tmacs", "saved_percent", "trunk_tmacs")
        return read_numbers(self.study_folder / SUMMARY, *(f"tune/{name}" for name in counts))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Manifest of the data, as stage `prepare` has written it."""
        return read_manifest(prepared_folder(self.experiment))


def training_cost(history: pd.DataFrame) -> pd.Series:
    """Training cost by seed, in 10¹² MACs: the last of these records, since cost adds up."""
    return pd.Series(history.groupby("seed")[TRAIN_COST.key].max())


def all_results(params: dict[str, Any]) -> list[Results]:
    """Every selected experiment of `params.yaml`."""
    return [results_of(params, name) for name in selected(params, "names")]


def results_of(params: dict[str, Any], name: str) -> Results:
    """One experiment with the selected methods and seeds. Raises `UserError` naming a key that params lack."""
    methods, budgets, seeds = (selected(params, key) for key in ("methods", "finetuned", "seeds"))
    for key, *inner in ("dataset",), ("space", "name"), ("train", "epochs"), ("methods",), ("tuning", "seed"):
        own = section(params, "experiments", name, key)
        if missing := [one for one in inner if one not in own]:
            raise UserError(f"params.yaml has no 'experiments.{name}.{key}.{missing[0]}'; 'deps params' composes it")
    return Results(
        name, methods, seeds, section(params, "experiments", name), tuple(budgets), bool(params.get("portable"))
    )


def to_json(experiments: Iterable[Results]) -> str:
    """Experiments as one JSON object.

    By title: `dataset`, `space`, `seeds`, `test_images`; `methods` with the metrics of each seed; `reference`;
    `standalone`, a row an arch and seed. Raises `UserError` where results are missing.
    """
    return json.dumps({"experiments": {one.title: _as_dict(one) for one in experiments}}, indent=1)


def _as_dict(results: Results) -> dict[str, Any]:
    methods: dict[str, dict[str, Any]] = {method: {} for method in results.methods}
    for row in _plain(results.metrics):
        methods[row.pop("method")][str(row.pop("seed"))] = row
    return {
        "dataset": results.manifest["name"],
        "space": results.params["space"]["name"],
        "seeds": results.seeds,
        "test_images": results.manifest["images"]["test"],
        "methods": methods,
        "reference": results.reference,
        "standalone": _plain(results.standalone),
    }


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict per row, missing values as None."""
    return json.loads(str(frame.to_json(orient="records", double_precision=15)))
