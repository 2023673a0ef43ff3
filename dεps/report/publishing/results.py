"""Published experiments as the report reads any other: the same tables, from their rows instead of `runs/`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dεps.core.console import plural
from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.core.tables import column, matching, records, rows_where
from dεps.report.publishing.collect import code_of
from dεps.report.publishing.seed import PARAMS, PUBLISHED, PublishedSeed, read_seeds
from dεps.report.publishing.study import FOLDER as STUDY_FOLDER
from dεps.report.publishing.study import PublishedStudy, read_study
from dεps.report.results import Results
from dεps.report.style import label
from dεps.tuning.config import TuningConfig
from dεps.tuning.identity import STAGE
from dεps.workspace.identity import FULL_MODEL, STANDALONE
from dεps.workspace.outputs import IMPORTANCE, TRAIN_COST, TRIALS

#: kinds whose rows the predictor was cross-validated on
_MEASURED = ("pareto", "least", "population")
#: digits of a commit that are shown
_COMMIT = 7


@dataclass(frozen=True)
class PublishedResults(Results):
    """The seeds of a published experiment, and the methods that all of them have."""

    folders: Path = PUBLISHED
    published: tuple[PublishedSeed, ...] = field(default=(), repr=False)
    #: seeds that are published but not complete, and methods that some seeds lack, each with what is lacking
    lacking: tuple[str, ...] = ()
    #: these methods
    partial: tuple[str, ...] = ()
    #: the study, where one is published too
    tuned: PublishedStudy | None = field(default=None, repr=False)

    @property
    def left_out(self) -> str:
        return ", ".join(self.lacking)

    @cached_property
    def every(self) -> PublishedResults:
        return replace(self, methods=[*self.methods, *self.partial], partial=())

    @property
    def folder(self) -> Path:
        return self.folders / self.experiment

    @property
    def title(self) -> str:
        return f"{self.experiment}, published"

    @property
    def slug(self) -> str:
        return f"{self.experiment}-published"

    def _kinds(self, *kinds: str) -> pd.DataFrame:
        """Rows of these kinds, methods as everywhere in reports, and in each the seeds ascending."""
        rows = rows_where(self._archs, column(self._archs, "kind").isin(kinds))
        return pd.concat([matching(rows, method=method) for method in self.methods], ignore_index=True)

    @cached_property
    def _archs(self) -> pd.DataFrame:
        return pd.concat([one.archs for one in self.published], ignore_index=True)

    @cached_property
    def _runs(self) -> pd.DataFrame:
        return pd.concat([one.runs for one in self.published], ignore_index=True)

    def commit_to_add(self, methods: Collection[str]) -> str:
        first, found, here = self.published[0], self.params["methods"], Path("pipelines").is_dir()
        for key, code in first.provenance["code"].items():
            stage, _, name = key.partition("/")
            if name and name not in methods:
                continue
            # Where no pipeline is, as beside an archive's results, nothing is of their code.
            if not here or code_of(stage, found[name]["method"] if name else None) != code:
                commits = column(first.runs, "commit").dropna().tolist()
                return str(commits[0])[:_COMMIT] if commits else "a commit that was not noted"
        return ""

    @cached_property
    def notes(self) -> pd.DataFrame:
        names = column(self._runs, "method")
        shown = names.isin([*self.methods, FULL_MODEL]) | names.str.startswith(f"{STANDALONE}-")
        return rows_where(self._runs, shown)

    @cached_property
    def _evaluated(self) -> pd.DataFrame:
        rows = self._kinds("pareto", "least")
        return rows.assign(pareto=column(rows, "kind").eq("pareto"))

    @cached_property
    def population(self) -> pd.DataFrame:
        return self._kinds("population").astype({"bucket": int})

    @cached_property
    def predictions(self) -> pd.DataFrame:
        rows = self._kinds(*_MEASURED).dropna(subset=["predicted"])
        return rows.drop_duplicates(["method", "seed", "arch"]).assign(measured=lambda own: own.val_top1)

    @cached_property
    def searched(self) -> pd.DataFrame:
        return self._kinds("front").assign(measured=lambda own: own.val_top1)

    @cached_property
    def history(self) -> pd.DataFrame:
        rows = pd.concat([one.history for one in self.published], ignore_index=True)
        own = pd.concat([matching(rows, method=name) for name in (FULL_MODEL, *self.methods)], ignore_index=True)
        phases = [json.loads(text) if isinstance(text, str) else np.nan for text in own.phases]
        return own.assign(phases=pd.Series(phases, dtype=object))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        rows = pd.concat([matching(self._runs, method=method) for method in self.methods], ignore_index=True)
        numbers = [name for name in rows if "/" in str(name)]
        return rows[["method", "seed", *numbers]].assign(**{TRAIN_COST.key: rows.train_tmacs})

    def full_model_top1(self, seed: int) -> float:
        return float(column(matching(self._archs, kind=FULL_MODEL, seed=seed), "test_top1").iloc[0])

    @cached_property
    def reference(self) -> dict[str, float]:
        values = column(matching(self._archs, kind=FULL_MODEL), "test_top1")
        found = {"reference/full_model_top1": values.mean(), "reference/full_model_top1_std": values.std()}
        if len(values) == 1:
            found["reference/full_model_top1_std"] = 0.0
        return {key: round(float(value), 4) for key, value in found.items()} | self.published[0].provenance["reference"]

    @cached_property
    def standalone(self) -> pd.DataFrame:
        rows = matching(self._archs, kind=STANDALONE)
        costs = self._runs.set_index(["method", "seed"]).train_tmacs
        spent = [costs[row["method"], row["seed"]] for row in records(rows)]
        archs = column(rows, "method").str.removeprefix(f"{STANDALONE}-")
        table = rows.assign(standalone=archs, train_tmacs=spent)
        return table.sort_values(["standalone", "seed"], kind="stable", ignore_index=True)

    @cached_property
    def models(self) -> pd.DataFrame:
        """None: their files are not published."""
        return pd.DataFrame()

    @property
    def model_files(self) -> list[Path]:
        return []

    @property
    def has_exports(self) -> bool:
        return False

    @property
    def finetuned_files(self) -> list[Path]:
        return []

    @property
    def study_folder(self) -> Path:
        return self.folder / STUDY_FOLDER

    @property
    def has_study(self) -> bool:
        return self.tuned is not None

    @cached_property
    def importance(self) -> pd.DataFrame:
        """From the trials, by the code here: that of the study may have laid shares to others."""
        import optuna  # a second, of studies alone

        from dεps.tuning.outputs import importances

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        config = structured(TuningConfig, self.params["tuning"], f"{self.study_folder}/{PARAMS}: tuning")
        return importances(self.trials, config)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self.published[0].provenance["data"]

    def file(self, stage: str, instance: str, name: str) -> Path:
        """The published file that holds what a stage's file did."""
        if stage == STAGE:
            return self.study_folder / (TRIALS.file if name == IMPORTANCE.file else name)
        seed = instance.rpartition("-")[2] if instance else self.seeds[0]
        tables = {"predict/metrics.json": "runs.csv", "reference/metrics.json": "provenance.json"}
        tables |= {f"{one}/history.jsonl": "history.csv" for one in (FULL_MODEL, "train")}
        return self.folder / f"seed-{seed}" / tables.get(f"{stage}/{name}", "archs.csv")

    @property
    def origin(self) -> str:
        """Sentence that says which machines and commits made it."""

        def counted(name: str) -> str:
            found = Counter(column(self.notes, name).dropna())
            return ", ".join(f"{value} ({plural(count, 'training')})" for value, count in found.most_common())

        commits = counted("commit") or "not noted"
        return f"Drawn from {self.folder}; made on {counted('machine') or 'a machine not noted'}; commits {commits}"


def published_results(folder: Path = PUBLISHED) -> list[PublishedResults]:
    """All published experiments, those of most seeds first; of each the seeds that have everything, if there are any.

    Raises `UserError` where a file is damaged, or results are of two kinds.
    """
    found = (
        results_of(read_seeds(path), folder, read_study(path)) for path in sorted(folder.glob("*")) if path.is_dir()
    )
    return sorted(filter(None, found), key=lambda one: (-len(one.seeds), one.experiment))


def is_published(results: Results, published: Sequence[PublishedResults]) -> bool:
    """Tell whether what was made here is among the published results: each number of each run the same.

    What is not finished here is not.
    """
    own = next((one.every for one in published if one.experiment == results.experiment), None)
    if own is None or not set(results.methods) <= set(own.methods) or not set(results.seeds) <= set(own.seeds):
        return False
    try:
        made = results.metrics, results.standalone
    except UserError:  # which names a missing file; claims say what there is
        return False
    tables = (made[0], own.metrics, ["method", "seed"]), (made[1], own.standalone, ["arch", "seed"])
    return all(_holds(mine, theirs, by) for mine, theirs, by in tables)


def _holds(mine: pd.DataFrame, theirs: pd.DataFrame, by: list[str]) -> bool:
    """Whether each row is in the other table too, its shared numbers equal but for the rounding of files."""
    both = mine.merge(theirs, on=by, how="left", suffixes=("", " published"), indicator=True)
    shared = [name for name in mine.select_dtypes("number") if f"{name} published" in both]
    pairs = ((both[name], both[f"{name} published"]) for name in shared)
    equal = all(np.allclose(here, there, rtol=0.0, atol=1e-3, equal_nan=True) for here, there in pairs)
    return bool(both["_merge"].eq("both").all()) and equal


def results_of(
    seeds: Sequence[PublishedSeed], folder: Path = PUBLISHED, study: PublishedStudy | None = None
) -> PublishedResults | None:
    """Those of the seeds of an experiment that have everything, and its study; None where there are no such seeds.

    Raises `UserError` where the study does not fit the seeds.
    """
    whole, lacking = [], []
    for one in seeds:
        if FULL_MODEL in set(one.archs.kind):
            whole.append(one)
        else:
            lacking.append(f"seed {one.seed} (not yet with what was trained alone)")
    named = dict.fromkeys(method for one in whole for method in one.methods)
    without = {method: [one.seed for one in whole if method not in one.methods] for method in named}
    methods = [method for method in (whole[0].methods if whole else []) if not without[method]]
    if not methods:
        return None
    for method, numbers in without.items():
        if numbers:
            some = f"seed{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
            lacking.append(f"{label(method)} ({some} without it)")
    first, numbers = whole[0], [one.seed for one in whole]
    partial = tuple(method for method, without_it in without.items() if without_it)
    params = first.params
    if study:
        study.check_fits(whole)
        params = params | {"tuning": study.params["tuning"]}
    return PublishedResults(
        *(first.experiment, methods, numbers, params, (), bool(params.get("portable"))),
        *(folder, tuple(whole), tuple(lacking), partial, study),
    )
