"""Reads all results of one experiment from the stages' output files, as pandas frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dεps.core.errors import UserError
from dεps.core.files import read_json, read_numbers, read_records
from dεps.core.params import section, selected
from dεps.core.schema import check_plain, structured
from dεps.core.tables import records, rows_where
from dεps.data.manifest import prepared_folder, read_manifest
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.choice import remarks
from dεps.spaces.cost import macs_counter
from dεps.spaces.space import SearchSpace
from dεps.workspace.outputs import (
    CONFIRMATION,
    EVALUATED,
    FRONT,
    HISTORY,
    IMPORTANCE,
    METRICS,
    MODELS,
    PARETO,
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

RUNS = Path("runs")
#: keys that each stage's metrics must hold
NEEDED = {
    "train": (TRAIN_COST.key,),
    "evaluate": tuple(metric.key for metric in EVALUATED if metric.shown),
    "predict": tuple(f"predictor/{name}kendall_tau{end}" for name in ("", "macs_", "ceiling_") for end in ("", "_std")),
    "search": (),
}


@dataclass(frozen=True)
class Results:
    """One experiment: its name, selected methods and seeds, and its section of params."""

    experiment: str
    methods: list[str]
    seeds: list[int]
    params: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Folder that the stages of this experiment write to."""
        return RUNS / self.experiment

    def table(self, kind: Table) -> pd.DataFrame:
        """The tables of all methods and seeds, one below the other, with columns `method` and `seed`."""
        frames = []
        for method in self.methods:
            for seed in self.seeds:
                folder = self.folder / kind.stage / f"{method}-{seed}"
                frames.append(kind.read(folder).assign(method=method, seed=seed))
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def pareto(self) -> pd.DataFrame:
        """Pareto points of each method and seed: name, arch, macs, params, val_top1, test_top1 (percent)."""
        table = self.table(PARETO)
        return rows_where(table, table.pareto.astype(bool))

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
        points = {
            str(method): tuple(dict.fromkeys(own.arch)) for method, own in self.pareto.groupby("method", sort=False)
        }
        return {method: archs for method, archs in points.items() if set(archs) != usual}

    @cached_property
    def population(self) -> pd.DataFrame:
        """Random archs: bucket, arch, macs, params, val_top1, test_top1 (percent)."""
        return self.table(POPULATION)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Measured archs: arch, macs, measured, and predicted by a predictor that has not seen them (percent)."""
        return self.table(PREDICTIONS)

    @cached_property
    def searched(self) -> pd.DataFrame:
        """Archs found by search: arch, macs, params, predicted, measured (percent, empty where not measured)."""
        return self.table(FRONT)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Training records, one row per method, seed and epoch; `full_model` counts as a method."""
        frames = []
        for method in ["full_model", *self.methods]:
            for seed in self.seeds:
                trunk = method == "full_model"
                name = Path("full_model", str(seed)) if trunk else Path("train", f"{method}-{seed}")
                records = read_records(self.folder / name / HISTORY, "epoch", TRAIN_COST.key)
                frames.append(pd.DataFrame(records).assign(method=method, seed=seed))
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics of all stages, and the training cost, one row per method and seed."""
        rows = []
        for method in self.methods:
            for seed in self.seeds:
                row: dict[str, Any] = {"method": method, "seed": seed}
                for stage, names in NEEDED.items():
                    folder = self.folder / stage / f"{method}-{seed}"
                    row |= read_numbers(folder / (SUMMARY if stage == "train" else METRICS), *names)
                rows.append(row)
        return pd.DataFrame(rows)

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
        """Exported models: method, seed, budget, macs, params, validation, test, remark; empty without any."""
        rows = []
        for path in self.model_files:
            for budget, facts in read_json(path, "the stage 'export'").items():
                check_plain(facts, where := f"{path}: {budget}")
                card = ModelCard.from_facts(facts, where)
                row = {"method": card.method, "seed": card.seed, "budget": budget, "macs": card.macs}
                row |= {"params": card.params, "validation": card.percent("val"), "test": card.percent("test")}
                rows.append(row | {"remark": "; ".join(remarks(facts))})
        return pd.DataFrame(rows)

    @property
    def model_files(self) -> list[Path]:
        """Files that describe exported models, one per method and seed for which stage `export` has run."""
        names = [f"{method}-{seed}" for method in self.methods for seed in self.seeds]
        return [path for name in names if (path := self.folder / "export" / name / MODELS).exists()]

    @property
    def has_study(self) -> bool:
        """Whether stage `tune` has run trials."""
        path = self.folder / "tune" / SUMMARY
        return path.exists() and read_numbers(path, "tune/trials")["tune/trials"] > 0

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Trials of the study: point, state, options, val_top1 and the like (percent), train_tmacs, front, best."""
        table = TRIALS.read(self.folder / "tune")
        return table.assign(point=table.point.fillna(""))

    @cached_property
    def trial_points(self) -> pd.DataFrame:
        """Pareto points of the complete trials: trial, name, macs, val_top1 (percent)."""
        return TRIAL_POINTS.read(self.folder / "tune")

    @cached_property
    def trial_curves(self) -> pd.DataFrame:
        """Training records of the trials, one row per trial and epoch that it trained itself."""
        return TRIAL_CURVES.read(self.folder / "tune")

    @cached_property
    def confirmation(self) -> pd.DataFrame:
        """Default and best trial on seeds that did not choose: seed, and val_top1 and the like of both (percent)."""
        return CONFIRMATION.read(self.folder / "tune")

    @cached_property
    def importance(self) -> pd.DataFrame:
        """Share of the variance of accuracy and of cost that each option explains: option, accuracy, cost."""
        return IMPORTANCE.read(self.folder / "tune")

    @cached_property
    def study(self) -> dict[str, float]:
        """Metrics of the study."""
        counts = ("trials", "pruned", "trained_tmacs", "from_scratch_tmacs", "saved_percent")
        return read_numbers(self.folder / "tune" / SUMMARY, *(f"tune/{name}" for name in counts))

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
    methods, seeds = (selected(params, key) for key in ("methods", "seeds"))
    for keys in (("dataset",), ("space", "name"), ("train", "epochs"), ("methods",), ("tuning", "seed")):
        if len(keys) > 1 and keys[1] not in section(params, "experiments", name, keys[0]):
            raise UserError(f"params.yaml has no 'experiments.{name}.{'.'.join(keys)}'; 'deps params' composes it")
    return Results(name, methods, seeds, section(params, "experiments", name))


def to_json(params: dict[str, Any]) -> str:
    """Every selected experiment of `params` as one JSON object.

    By experiment: `dataset`, `space`, `seeds`, `test_images`; `methods` with the metrics of each seed; `reference`;
    `standalone`, a row an arch and seed. Raises `UserError` where results are missing.
    """
    return json.dumps({"experiments": {one.experiment: _as_dict(one) for one in all_results(params)}}, indent=1)


def _as_dict(results: Results) -> dict[str, Any]:
    rows = _plain(results.metrics)
    methods: dict[str, dict[str, Any]] = {method: {} for method in results.methods}
    for row in rows:
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
