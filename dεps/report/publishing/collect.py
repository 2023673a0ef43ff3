"""Collects the rows of one seed from what the stages have written, once all of them belong to what is here."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dεps.core.errors import UserError
from dεps.core.files import read_json, read_numbers, read_records
from dεps.core.hashing import digest, file_hash, md5
from dεps.core.params import selected
from dεps.core.schema import structured
from dεps.core.tables import column, matching, records
from dεps.data.manifest import read_manifest
from dεps.report.publishing.seed import TRAINED, PublishedSeed
from dεps.report.results import Results
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import SearchSpace
from dεps.workspace.decides import METHODS_CODE, PATHS, STAGES, code_hash, hash_of, method_files, sections_behind
from dεps.workspace.identity import FULL_MODEL, STANDALONE, run_identity, standalone_method
from dεps.workspace.live import read_live
from dεps.workspace.outputs import FRONT, HISTORY, METRICS, PARETO, POPULATION, PREDICTIONS, SUMMARY, TRAIN_COST
from dεps.workspace.outputs import STANDALONE as STANDALONE_TABLE
from dεps.workspace.stage import Context

LOCK = Path("dvc.lock")
#: stages of a method and seed
PER_RUN = ("train", "evaluate", "predict", "search")
#: of the manifest
_FACTS = ("name", "source", "form", "size", "crop", "channels", "classes", "images", "sha256")
#: hashes of each output of each item, as dvc.lock has them: by item, then by path
Locked = Mapping[str, Mapping[str, str]]


class UnfinishedError(UserError):
    """A seed of which not everything has run, or not with what is here now."""


def read_lock() -> Locked:
    """The outputs that `dvc.lock` names. Raises `UserError` if there is none."""
    try:
        data = yaml.load(LOCK.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
        return {
            name: {out["path"]: out.get("md5", "") for out in stage.get("outs", ())}
            for name, stage in data["stages"].items()
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{LOCK} cannot be read ({error}); 'dvc repro' writes it") from None


def check_ran(what: str, items: Iterable[str], stale: Collection[str], locked: Locked) -> None:
    """Raise `UnfinishedError` naming items that have to run before `what` is whole."""
    if left := [item for item in items if item in stale or item not in locked]:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        have, them = ("have", "them") if len(left) > 1 else ("has", "it")
        raise UnfinishedError(
            f"{what} is not finished: {', '.join(left[:3])}{more} {have} not run with the code, params and data that "
            f"are here; 'deps repro' runs {them}"
        )


def check_files(outputs: Mapping[str, str]) -> None:
    """Raise `UnfinishedError` if a text file among an item's outputs is not the one that `dvc.lock` says."""
    for path, value in outputs.items():
        if Path(path).suffix in (".csv", ".json", ".jsonl", ".yaml") and md5(Path(path)) != value:
            raise UnfinishedError(f"{path} is not what {LOCK} says; 'deps repro' makes it again")


def check_methods_code(experiment: str, stage: str, name: str = "", method: str | None = None) -> None:
    """Raise `UnfinishedError` if the code of a stage's methods, or that of `name`, is not what results are of.

    DVC knows methods' code by the files of stage `check`, which may be older than an edit.
    """
    files = method_files(*STAGES[stage].methods, *([method] if method else []))
    path = Path("reports/checked") / METHODS_CODE.format(experiment, f"{stage}-{name}" if name else stage)
    if read_json(path, "'dvc repro check'").get("sha256") != hash_of(files):
        raise UnfinishedError(f"the code of {name or stage} has changed since its results were made; 'deps repro'")


def hashes(item: str, folder: Path, locked: Locked) -> dict[str, str]:
    """MD5 of an item's outputs by their paths below its folder; `folder` is the experiment's."""
    root = folder / item.split("@")[0]
    paths = {Path(path): value for path, value in locked[item].items()}
    return {"/".join(path.relative_to(root).parts[1:]): value for path, value in sorted(paths.items())}


def code_of(stage: str, method: str | None = None) -> str:
    """Hash of the code that decides a stage's results, its script included."""
    return digest([code_hash(stage, method), file_hash(Path("pipelines") / f"{stage}.py")])


def facts_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of the data that are published, and their `hash`."""
    return {key: manifest[key] for key in _FACTS} | {"hash": digest(manifest["sha256"])}


def own_params(params: Mapping[str, Any], experiment: Mapping[str, Any], stages: Iterable[str]) -> dict[str, Any]:
    """Sections of an experiment's params that decide results of `stages`, and `portable` where that is on.

    Its bits are others. Where files lie is left out, as in a run's identity.
    """
    own = {name: experiment[name] for name in sections_behind(stages) if name in experiment}
    own["dataset"] = {key: value for key, value in own["dataset"].items() if key not in ("root", "workers")}
    for name in {"train", "search"} & set(own):
        own[name] = own[name] | {key: Path(own[name][key]).name for key in PATHS if own[name].get(key)}
    return ({"portable": True} if params.get("portable") else {}) | own


def collect(
    params: dict[str, Any], experiment: str, seed: int, changed: Callable[[Collection[str]], set[str]]
) -> PublishedSeed:
    """All rows of one seed of the selected methods, and of what was trained alone.

    Accuracies on test of what was trained alone are left out as long as stage `reference` has not run for it.

    Args:
        params: all of `params.yaml`.
        experiment, seed: what is collected.
        changed: those of some items of DVC's graph whose code, params, inputs or outputs `dvc.lock` does not say, or
            that there are none of.

    Raises `UnfinishedError` naming the items that have to run first.
    """
    return _Collector(params, experiment, seed).collect(changed)


class _Collector:
    def __init__(self, params: dict[str, Any], experiment: str, seed: int) -> None:
        self.params, self.experiment, self.seed = params, experiment, seed
        self.methods, self.alone = (selected(params, key) for key in ("methods", "standalone"))
        self.results = Results(experiment, self.methods, [seed], params["experiments"][experiment])
        self.locked = read_lock()

    def _contexts(self) -> dict[str, Context]:
        """What the seed is made of, by `<stage>` or `<stage>/<instance without seed>`."""
        own: dict[str, Any] = {"experiment": self.experiment, "params": self.params}
        return {
            "prepare": Context("prepare", **own),
            FULL_MODEL: Context(FULL_MODEL, seed=self.seed, **own),
            **{f"{STANDALONE}/{arch}": Context(STANDALONE, seed=self.seed, arch=arch, **own) for arch in self.alone},
            **{
                f"{stage}/{method}": Context(stage, method=method, seed=self.seed, **own)
                for method in self.methods
                for stage in PER_RUN
            },
        }

    def collect(self, changed: Callable[[Collection[str]], set[str]]) -> PublishedSeed:
        contexts = self._contexts()
        items = {key: f"{one.stage}@{self.experiment}-{one.instance}".rstrip("-") for key, one in contexts.items()}
        reference = f"reference@{self.experiment}"
        stale = changed([*items.values(), reference])
        check_ran(f"seed {self.seed} of {self.experiment}", items.values(), stale, self.locked)
        self._check_methods_code()
        measured = reference not in stale and reference in self.locked
        manifest = read_manifest(contexts["prepare"].folder("prepare", ""))
        archs = [self._archs(method) for method in self.methods]
        if measured:
            archs = [self._full_model(manifest), *self._standalone(), *archs]
        trained = [one for one in contexts.values() if one.stage in TRAINED]
        runs, history = [self._run(one, manifest) for one in trained], map(self._history, trained)
        shared = self.results.folder / "reference"
        numbers = read_numbers(shared / METRICS) if measured else {}
        for item in items.values():
            check_files(self.locked[item])
        results = {key: hashes(item, self.results.folder, self.locked) for key, item in items.items()}
        if measured:
            paths = {FULL_MODEL: shared / FULL_MODEL / f"{self.seed}.json"}
            paths |= {f"{STANDALONE}/{arch}": shared / STANDALONE / f"{arch}-{self.seed}.json" for arch in self.alone}
            results |= {f"reference/{key}": {path.name: md5(path)} for key, path in paths.items()}
        provenance = {
            "data": facts_of(manifest),
            "code": self._code(contexts.values(), measured),
            "reference": {key: value for key, value in numbers.items() if "logistic" in key},
            "results": results,
        }
        tables = [pd.concat(list(frames), ignore_index=True) for frames in (archs, map(_frame, runs), history)]
        return PublishedSeed(
            self.experiment, self.seed, tables[0], tables[1], tables[2], self._own_params(), provenance
        )

    def _own_params(self) -> dict[str, Any]:
        """Sections that decide what is published."""
        own = own_params(self.params, self.results.params, ("search", "reference"))
        return own | {"methods": {method: own["methods"][method] for method in self.methods}}

    def _check_methods_code(self) -> None:
        own = self.results.params["methods"]
        check_methods_code(self.experiment, FULL_MODEL)
        check_methods_code(self.experiment, STANDALONE)
        for method in self.methods:
            check_methods_code(self.experiment, "train", method, own[method]["method"])

    def _code(self, contexts: Iterable[Context], measured: bool) -> dict[str, str]:
        """Hash of the code that decides each stage's results, its script included; `train` by method.

        Not of `prepare`, since the data have their own.
        """
        own, found = self.results.params["methods"], dict[str, str]()
        for stage, name in [(one.stage, one.method) for one in contexts] + [("reference", None)] * measured:
            if stage != "prepare":
                method = own[name]["method"] if STAGES[stage].method else None
                found[f"{stage}/{name}" if method else stage] = code_of(stage, method)
        return found

    def _archs(self, method: str) -> pd.DataFrame:
        """Rows of a method's Pareto points, random archs and archs found by search."""
        instance = f"{method}-{self.seed}"
        folders = {stage: self.results.folder / stage / instance for stage in ("evaluate", "predict", "search")}
        points, population = (table.read(folders["evaluate"]) for table in (PARETO, POPULATION))
        points["kind"] = ["pareto" if pareto else "least" for pareto in points.pop("pareto")]
        front = FRONT.read(folders["search"]).rename(columns={"measured": "val_top1"})
        measured = pd.concat([points, population.assign(kind="population")], ignore_index=True)
        predicted = PREDICTIONS.read(folders["predict"]).set_index("arch").predicted
        measured["predicted"] = column(measured, "arch").map(predicted.to_dict())
        table = pd.concat([measured, front.assign(kind="front")], ignore_index=True)
        own = ["weights", "round", "on_front", "ms", "on_latency_front", "latency_table"]  # ms are of one machine
        return table.drop(columns=own, errors="ignore").assign(method=method, seed=self.seed)

    def _full_model(self, manifest: Mapping[str, Any]) -> pd.DataFrame:
        """The row of the full model trained alone."""
        space = structured(SearchSpace, self.results.params["space"], "space")
        cost = arch_cost(space, space.largest(), len(manifest["classes"]), manifest["channels"])
        path = self.results.folder / "reference" / FULL_MODEL / f"{self.seed}.json"
        (name, top1), *_ = read_numbers(path).items()
        name = name.removeprefix("pareto/").removesuffix("_top1")
        row = {"method": FULL_MODEL, "seed": self.seed, "kind": FULL_MODEL, "name": name, "arch": str(space.largest())}
        return pd.DataFrame([row | {"macs": cost.macs, "params": cost.params, "test_top1": top1}])

    def _standalone(self) -> Iterable[pd.DataFrame]:
        """A row an arch that was trained alone."""
        table = matching(STANDALONE_TABLE.read(self.results.folder / "reference"), seed=self.seed)
        for row in records(table):
            method = standalone_method(row.pop("standalone"))
            yield pd.DataFrame([row | {"method": method, "kind": STANDALONE}])

    def _run(self, context: Context, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The row of one training: its cost, what its own notes say of time and place, and its metrics."""
        name = _name(context)
        identity = run_identity(self.params, self.experiment, name, self.seed, manifest)
        history = read_records(_folder(context) / HISTORY, "epoch", TRAIN_COST.key)
        summary = read_numbers(_folder(context) / SUMMARY, TRAIN_COST.key)
        row = {"method": name, "seed": self.seed, "arch": context.arch, "identity": identity.digest}
        row |= {"epochs": history[-1]["epoch"], "train_tmacs": summary[TRAIN_COST.key]}
        note = read_live(context.state("live", ".jsonl"))
        if note and note.ended and note.identity.digest == identity.digest and note.epochs[-1][1] == history[-1]:
            commit, _, changes = note.origin.git_commit.partition("+")
            row |= {"commit": commit, "dirty": bool(changes)}
            row |= {"threads": note.origin.threads or None, "machine": note.origin.machine, "torch": note.origin.torch}
            row["train_seconds"] = _seconds(context)
        if context.stage == "train":
            for stage in PER_RUN[1:]:
                one = self._contexts()[f"{stage}/{name}"]
                row |= read_numbers(one.folder(stage) / METRICS)
                if "train_seconds" in row and note:
                    row[f"{stage}_seconds"] = _seconds(one, since=note.epochs[-1][0] / 1000)
        return row

    def _history(self, context: Context) -> pd.DataFrame:
        """Training records, one row an epoch; `phases` as JSON."""
        found = read_records(_folder(context) / HISTORY, "epoch", TRAIN_COST.key)
        rows = [one | ({"phases": json.dumps(one["phases"])} if "phases" in one else {}) for one in found]
        return pd.DataFrame(rows).assign(method=_name(context), seed=self.seed)


def _frame(row: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([row]).dropna(axis=1)


def _name(context: Context) -> str:
    """What a training is called among methods."""
    if context.stage == STANDALONE:
        return standalone_method(context.the_arch)
    return FULL_MODEL if context.stage == FULL_MODEL else context.the_method


def _folder(context: Context) -> Path:
    return context.folder(context.stage)


def _seconds(context: Context, since: float = 0.0) -> float | None:
    """Wall-clock seconds of the process that finished a stage; None where they are not noted.

    What began before `since`, in seconds since 1970, worked on other weights than those that are there.
    """
    path = context.state("timing", ".json")
    noted = read_json(path) if path.exists() else {}
    return noted.get("seconds") if noted.get("started", 0.0) >= since else None
