"""Says where a figure, a table or the cards come from: result files, params, data, code and runs.

All are named by hashes of their content.

Nothing here depends on when or where it was made. A result file's MD5 stands in `dvc.lock` beside the hashes of the
code, parameters and inputs that gave it, so it leads to a commit; a run's identity leads to its MLflow run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from dεps.core.hashing import digest, md5
from dεps.core.tables import records
from dεps.report import tables
from dεps.report.registry import FigureFile
from dεps.report.results import Results
from dεps.tuning.identity import STAGE, study_digest
from dεps.workspace.decides import deciding, sections_behind
from dεps.workspace.identity import FINETUNE, FULL_MODEL, STANDALONE, finetuned_method, run_identity, standalone_method

#: folder that paths of code are relative to
ROOT = Path(__file__).resolve().parents[3]
#: stages with one instance per method and seed
_PER_RUN = ("train", "evaluate", "predict", "search")
_METRICS = ("evaluate/metrics.json", "predict/metrics.json", "train/summary.json")
#: files behind what is no figure
TABLES: dict[str, tuple[str, ...]] = {
    "highlights": (*_METRICS, "evaluate/pareto.csv", "evaluate/population.csv", "search/front.csv"),
    "results": (*_METRICS, "full_model/history.jsonl", "reference/metrics.json", "reference/standalone.csv"),
    "models": ("export/models.json",),
    "finetuned": ("finetune/models.json",),
    "study": ("tune/trials.csv", "tune/confirmation.csv", "tune/summary.json"),
}
#: files of code that make them
_CODE = {"highlights": Path(__file__).with_name("highlights.py")}


class Run(NamedTuple):
    """A run as MLflow knows it: its name, and its identity, the hash of all that decides it."""

    name: str
    identity: str


class Source(NamedTuple):
    """A file: the instance of the stage that it belongs to, as `dvc.yaml` names it, its path and its MD5."""

    stage: str
    path: str
    md5: str


class Origin(NamedTuple):
    """All that one figure, or table, was made from."""

    #: file that makes it
    code: Source
    #: full keys of the params that decide it; `params` is the digest of their values
    keys: tuple[str, ...]
    params: str
    data: str
    #: digest over the files of all runs, by `<stage>/<file>`
    results: dict[str, str]
    runs: tuple[str, ...]


def determinants(results: Results, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Sections of the experiment's params that decide its results, restricted to the selected methods.

    Where images and initial weights lie is left out, as in a run's identity: their own hashes stand for them.
    """
    params = deciding(results.params)
    own = {key: params[key] for key in (keys or params) if key in params}
    if "dataset" in own:
        own["dataset"] = {key: value for key, value in own["dataset"].items() if key not in ("root", "workers")}
    if "methods" in own:
        own["methods"] = {method: own["methods"][method] for method in results.methods if method in own["methods"]}
    return own


def data_digest(results: Results) -> str:
    """Hash of the data, which is the `data_hash` of all runs on it."""
    return digest(results.manifest["sha256"])


def archs_alone(results: Results) -> list[str]:
    """Archs trained alone, by their names in `params.yaml`."""
    return list(dict.fromkeys(results.standalone.standalone))


def finetuned_pairs(results: Results) -> list[tuple[str, str]]:
    """Methods and budgets of fine-tuned subnets, each once."""
    found = results.finetuned
    return list(dict.fromkeys(zip(found.method, found.budget, strict=True))) if len(found) else []


def runs(results: Results) -> list[Run]:
    """All runs: full model, archs alone, methods, fine-tuned subnets, and the study where there is one.

    Of published runs the identity is the noted one, of the code that they were trained with; it is empty where a result
    came from DVC's cache.
    """
    tuned = [finetuned_method(*pair) for pair in finetuned_pairs(results)]
    methods = [FULL_MODEL, *map(standalone_method, archs_alone(results)), *results.methods, *tuned]
    params = {"experiments": {results.experiment: results.params}, "portable": results.portable}
    identities = [
        run_identity(params, results.experiment, *one, results.manifest) for one in product(methods, results.seeds)
    ]
    notes = results.notes
    noted = {
        (row["method"], row["seed"]): row["identity"] for row in records(notes) if isinstance(row["identity"], str)
    }
    found = [Run(one.name, one.digest if notes.empty else noted.get((one.method, one.seed), "")) for one in identities]
    if results.has_study:
        own = results.params | {"portable": results.portable}
        found.append(Run(STAGE, study_digest(results.experiment, own, data_digest(results))))
    return found


def sources(results: Results, source: str) -> list[Source]:
    """Files behind `<stage>/<file>`, one per instance of the stage."""
    stage, file = source.split("/")
    found = []
    for instance in _instances(results).get(stage, [""]):
        path = results.file(stage, instance, file)
        name = f"{stage}@{results.experiment}-{instance}".removesuffix("-")
        found.append(Source(name, path.as_posix(), md5(path)))
    return found


def origin(results: Results, figure: FigureFile) -> Origin:
    """All that one figure of an experiment was drawn from."""
    return _origin(figure.shown(results), code_of(figure.file), figure.about.sources)


def origin_of_table(results: Results, name: str) -> Origin:
    """All that one of `TABLES` was made from."""
    return _origin(results, code_of(_CODE.get(name, Path(tables.__file__))), TABLES[name])


def _origin(results: Results, code: Source, names: Sequence[str]) -> Origin:
    files = {source: sources(results, source) for source in names}
    keys = sections_behind(source.split("/")[0] for source in names)
    return Origin(
        code=code,
        keys=tuple(f"experiments.{results.experiment}.{key}" for key in keys),
        params=digest(determinants(results, keys)),
        data=data_digest(results),
        results={source: digest([[file.path, file.md5] for file in found]) for source, found in files.items()},
        runs=tuple(dict.fromkeys(name for source in names for name in _run_names(results, source))),
    )


def code_of(file: Path) -> Source:
    """A file that draws a figure or makes a table, as stage `report` depends on it."""
    return Source("report", file.resolve().relative_to(ROOT).as_posix(), md5(file))


def all_sources(results: Results, figures: Iterable[FigureFile], names: Iterable[str] = ()) -> list[Source]:
    """Files that any of the figures or tables shows, each once, in the figures' order."""
    shown = [figure.about.sources for figure in figures] + [TABLES[name] for name in names]
    files = dict.fromkeys(source for own in shown for source in own)
    return list({file.path: file for source in files for file in sources(results, source)}.values())


def _instances(results: Results) -> dict[str, list[str]]:
    """Names of the instances of each stage that has several."""
    alone = [f"{arch}-{seed}" for arch, seed in product(archs_alone(results), results.seeds)]
    own = [f"{method}-{seed}" for method, seed in results.runs]
    exported = [path.parent.name for path in results.model_files]
    tuned = [path.parent.name for path in results.finetuned_files]
    whole = {FULL_MODEL: list(map(str, results.seeds)), STANDALONE: alone, "export": exported, FINETUNE: tuned}
    return whole | dict.fromkeys(_PER_RUN, own)


def _run_names(results: Results, source: str) -> list[str]:
    """Names of the runs that a source's files belong to."""
    stage, instances = source.split("/")[0], _instances(results)
    if stage in (*_PER_RUN, "export"):
        return instances[stage]
    if stage == STAGE:
        return [STAGE]
    if stage == FINETUNE:
        pairs = product(finetuned_pairs(results), results.seeds)
        return [f"{finetuned_method(*pair)}-{seed}" for pair, seed in pairs]
    stages = (FULL_MODEL, STANDALONE) if stage == "reference" else (stage,)
    return [f"{name}-{instance}" for name in stages for instance in instances[name]]
