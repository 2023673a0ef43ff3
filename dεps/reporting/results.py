"""All results of one experiment as pandas frames, read from the stages' output files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dεps.errors import UserError
from dεps.files import read_json

RUNS, DATA = Path("runs"), Path("data")


@dataclass(frozen=True)
class Results:
    """One experiment: its name, selected methods and seeds, and its section of params."""

    experiment: str
    methods: list[str]
    seeds: list[int]
    params: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where the stages of this experiment write."""
        return RUNS / self.experiment

    def table(self, stage: str, file: str) -> pd.DataFrame:
        """A CSV file of every method and seed, one below the other, with columns `method` and `seed`."""
        frames = []
        for method in self.methods:
            for seed in self.seeds:
                path = self.folder / stage / f"{method}-{seed}" / file
                try:
                    frames.append(pd.read_csv(path).assign(method=method, seed=seed))
                except (OSError, pd.errors.EmptyDataError) as error:
                    raise UserError(f"{path} cannot be read ({error}); run 'dvc repro'") from None
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def pareto(self) -> pd.DataFrame:
        """Pareto points: name, arch, macs, params, val_top1, test_top1."""
        table = self.table("evaluate", "pareto.csv")
        return table[table.name != "smallest"]

    @cached_property
    def population(self) -> pd.DataFrame:
        """Random archs: bucket, arch, macs, params, val_top1, test_top1."""
        return self.table("evaluate", "population.csv")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Held-out archs: arch, macs, measured, predicted, linear (percent)."""
        return self.table("predict", "predictions.csv")

    @cached_property
    def searched(self) -> pd.DataFrame:
        """Archs found by search: arch, macs, params, predicted, measured (percent, empty where not measured)."""
        return self.table("search", "front.csv")

    @cached_property
    def history(self) -> pd.DataFrame:
        """Training records, one an epoch; `full_model` among the methods."""
        frames = []
        for method in ["full_model", *self.methods]:
            for seed in self.seeds:
                trunk = method == "full_model"
                name = Path("full_model", str(seed)) if trunk else Path("train", f"{method}-{seed}")
                path = self.folder / name / "history.jsonl"
                try:
                    records = [json.loads(line) for line in path.read_text().splitlines()]
                except (OSError, ValueError) as error:
                    raise UserError(f"{path} cannot be read ({error}); run 'dvc repro'") from None
                frames.append(pd.DataFrame(records).assign(method=method, seed=seed))
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a method and seed: every stage's metrics, and the training cost."""
        rows = []
        for method in self.methods:
            for seed in self.seeds:
                row: dict[str, Any] = {"method": method, "seed": seed}
                for stage, file in (("train", "summary"), *((s, "metrics") for s in ("evaluate", "predict", "search"))):
                    row |= read_json(self.folder / stage / f"{method}-{seed}" / f"{file}.json")
                rows.append(row)
        return pd.DataFrame(rows)

    @cached_property
    def reference(self) -> dict[str, float]:
        """Test accuracy of the full model alone and of logistic regression."""
        return read_json(self.folder / "reference" / "metrics.json")

    @cached_property
    def standalone(self) -> pd.DataFrame:
        """Archs trained alone, one row an arch and seed: name, arch, macs, params, seed, test_top1, train_tmacs."""
        path = self.folder / "reference" / "standalone.csv"
        try:
            table = pd.read_csv(path)
        except (OSError, pd.errors.EmptyDataError) as error:
            raise UserError(f"{path} cannot be read ({error}); run 'dvc repro'") from None
        runs = [f"{row.standalone}-{row.seed}" for row in table.itertuples()]
        costs = [read_json(self.folder / "standalone" / run / "summary.json")["cost/train_tmacs"] for run in runs]
        return table.assign(train_tmacs=costs)

    @property
    def has_study(self) -> bool:
        """Whether stage `tune` has run trials."""
        path = self.folder / "tune" / "summary.json"
        return path.exists() and read_json(path)["tune/trials"] > 0

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Trials of the study: point, state, options, val_top1 and the like (percent), train_tmacs, front, best."""
        table = pd.read_csv(self.folder / "tune" / "trials.csv")
        return table.assign(point=table.point.fillna(""))

    @cached_property
    def trial_curves(self) -> pd.DataFrame:
        """Training records of the trials, of the epochs that each trained itself."""
        return pd.read_csv(self.folder / "tune" / "curves.csv")

    @cached_property
    def importance(self) -> pd.DataFrame:
        """Share of the variance that each option explains: option, accuracy, cost."""
        return pd.read_csv(self.folder / "tune" / "importance.csv")

    @cached_property
    def study(self) -> dict[str, float]:
        """Metrics of the study."""
        return read_json(self.folder / "tune" / "summary.json")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What stage `prepare` says of the data."""
        return read_json(DATA / self.experiment / "manifest.json")


def all_results(params: dict[str, Any]) -> list[Results]:
    """Every selected experiment of `params.yaml`."""
    return [Results(name, params["methods"], params["seeds"], params["experiments"][name]) for name in params["names"]]
