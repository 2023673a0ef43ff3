"""Answers what conferences ask of reproducibility, from params, results and claims: nothing is typed in.

The questions are those of the Machine Learning Reproducibility Checklist (Pineau et al., JMLR 22, 2021) and the NeurIPS
paper checklist that are about experiments. A question that no file answers is answered "not known".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import pandas as pd

from dεps.core.console import plural
from dεps.core.tables import column, matching
from dεps.report import claims
from dεps.report.results import Results
from dεps.report.statistics import CONFIDENCE, DECIDING
from dεps.report.style import label
from dεps.workspace.decides import deciding
from dεps.workspace.identity import flatten
from dεps.workspace.outputs import INT8, TRAIN_COST

UNKNOWN = "not known"
#: what is asked that files cannot know
_OUTSIDE = (
    "Licence of the data, and consent of people in it",
    "Limitations, and who may be harmed",
    "How much computing failed and earlier trials took",
    "Energy, or carbon, spent",
)


def checklist(results: Results) -> pd.DataFrame:
    """One row a question: `about`, `question`, `answer`, and the files `from` which the answer comes."""
    rows = [
        (about, question, answer(results) or UNKNOWN, source)
        for (about, question, source), answer in _QUESTIONS.items()
    ]
    rows += [("outside", question, UNKNOWN, "–") for question in _OUTSIDE]
    return pd.DataFrame(rows, columns=["about", "question", "answer", "from"])


def caption(results: Results) -> str:
    """Caption that says where the answers come from."""
    return f"{results.title}: the reproducibility checklists' questions about experiments, answered from files alone"


def _space(results: Results) -> str:
    space, macs = results.space, results.space_points.macs
    ends = f"Pareto points of {macs.min() / 1e6:.3g} to {macs.max() / 1e6:.3g} M MACs"
    return f"{space.name}, {space.size():,} archs; {ends}; methods {', '.join(map(label, results.methods))}"


def _images(results: Results) -> str:
    facts = results.manifest
    counts = ", ".join(f"{count:,} {split}" for split, count in facts["images"].items())
    form = f"{facts['size']} pixels a side, {plural(facts['channels'], 'channel')}"
    return f"{facts['name']} (source {facts['source']}): {counts}; {len(facts['classes'])} classes; {form}"


def _splits(results: Results) -> str:
    own = results.params["dataset"]
    if not {"holdout", "holdout_seed", "duplicates"} <= set(own):
        return ""
    held = f"what the source lacks is held out of train: {own['holdout']:.0%}, drawn with seed {own['holdout_seed']}"
    return f"{held}; equal images in two of its splits: {own['duplicates']}"


def _augmentation(results: Results) -> str:
    return _listed(results.params["train"].get("augment", {}))


def _hashes(results: Results) -> str:
    return ", ".join(f"{split} {value[:16]}" for split, value in results.manifest["sha256"].items())


def _values(results: Results) -> str:
    """Numbers of training, the longest list; methods' own stand in the params beneath."""
    own = {key: value for key, value in deciding(results.params)["train"].items() if key != "augment"}
    return f"{_listed(own)}; of methods, evaluation and search: all in the params"


def _chosen(results: Results) -> str:
    """How hyper-parameters were chosen, of which only a study leaves files."""
    if not results.has_study:
        return ""
    trials, tuning = plural(int(results.study["tune/trials"]), "trial"), results.params["tuning"]
    names = ", ".join(name for name, values in tuning["search"].items() if values is not None)
    return f"{names}: an Optuna study of {trials} on validation, seed {tuning['seed']}; all others: {UNKNOWN}"


def _ranges(results: Results) -> str:
    return _listed(results.params["tuning"]["search"]) if results.has_study else ""


def _runs(results: Results) -> str:
    trained = f"{plural(len(results.methods), 'method')} × {plural(len(results.seeds), 'seed')}"
    alone = results.standalone.standalone.nunique() if len(results.standalone) else 0
    also = f", and {plural(alone, 'arch')} trained alone, once a seed" if alone else ""
    return f"{trained} ({', '.join(map(str, results.seeds))}) once each{also}"


def _measure(results: Results) -> str:
    images = results.manifest["images"]["test"]
    return f"top-1 on {images:,} test images; TMACs of training; Kendall's τ of the predictor"


def _error_bars(results: Results) -> str:
    count = len(results.seeds)
    if count == 1:
        return "none: one seed"
    kind = "BCa bootstrap over seeds" if count >= DECIDING else "Student's t"
    return (
        f"n = {count} seeds: mean ± standard deviation of a sample; differences paired by seed, with {CONFIDENCE:.0%} "
        f"intervals ({kind}) and an exact sign-flip test"
    )


def _tested(results: Results) -> str:
    found = Counter(row.verdict.partition(" (")[0] for row in claims.tested(results))
    return "; ".join(f"{count} {verdict}" for verdict, count in sorted(found.items()))


def _cost(results: Results) -> str:
    costs = {name: column(matching(results.metrics, method=name), TRAIN_COST.key).mean() for name in results.methods}
    return ", ".join(f"{label(name)} {value:.3g}" for name, value in costs.items()) + " TMACs a seed"


def _time(results: Results) -> str:
    """Hours of all trainings, if all have noted them."""
    seconds = _noted(results, "train_seconds")
    if seconds.empty or seconds.isna().any():
        return ""
    return f"{seconds.sum() / 3600:.3g} hours of training in all, the longest {seconds.max() / 3600:.3g}"


def _machine(results: Results) -> str:
    threads = _counted(results, "threads", lambda value: plural(int(value), "thread"))
    return "; ".join(filter(None, (_counted(results, "machine"), threads)))


def _software(results: Results) -> str:
    torch = _counted(results, "torch")
    return f"torch {torch}" if torch else ""


def _precision(results: Results) -> str:
    keys = ("device", "precision", "operators", "channels_last", "compile")
    own = results.params["train"]
    return _listed({key: own[key] for key in keys if key in own})


def _commits(results: Results) -> str:
    dirty = _noted(results, "dirty").dropna().astype(bool)
    changed = f"; {dirty.sum()} with uncommitted changes" if dirty.any() else ""
    commits = _counted(results, "commit")
    return commits and commits + changed


def _licence(_: Results) -> str:
    """Of the installed package."""
    try:
        return str(metadata.metadata("deps-workbench").json.get("license_expression", ""))
    except metadata.PackageNotFoundError:
        return ""


def _models(results: Results) -> str:
    in_int8 = [budget.endswith(INT8) for budget in results.models.budget] if len(results.models) else []
    count = len(in_int8) - sum(in_int8)
    each = ", each in int8 too" if sum(in_int8) == count else f", {sum(in_int8)} of them in int8 too"
    return f"{plural(count, 'exported subnet')} as ONNX{each * any(in_int8)}" if count else ""


def _noted(results: Results, name: str) -> pd.Series:
    """A column of what trainings have noted; empty where they have not."""
    return column(results.notes, name) if name in results.notes else pd.Series(dtype=object)


def _counted(results: Results, name: str, text: Callable[[Any], str] = str) -> str:
    """Different values of a note, with the number of trainings; those without one are said too."""
    values = _noted(results, name)
    found = Counter(text(value) for value in values.dropna())
    if not found:
        return ""
    if missing := int(values.isna().sum()):
        found[UNKNOWN] = missing
    return ", ".join(f"{value} ({plural(count, 'training')})" for value, count in found.most_common())


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in flatten(values).items())


_NOTES = "runs.csv, by deps publish"
#: by what a question is about, the question, and where the answer comes from: the answer, empty where there is none
_QUESTIONS: dict[tuple[str, str, str], Callable[[Results], str]] = {
    ("models", "Which models and algorithms are compared?", "params: space, methods"): _space,
    ("data", "Which data, and how many images?", "manifest.json of prepare"): _images,
    ("data", "How are train, validation and test split?", "params: dataset"): _splits,
    ("data", "How are training images changed?", "params: train.augment"): _augmentation,
    ("data", "How can a reader check that he has the same data?", "manifest.json: SHA-256"): _hashes,
    ("experiments", "Which hyper-parameters?", "params: train"): _values,
    ("experiments", "Which ranges of them were tried?", "params: tuning; the study"): _ranges,
    ("experiments", "How were they chosen?", "params: tuning; the study"): _chosen,
    ("experiments", "How many runs, with which seeds?", "params: seeds, methods; standalone.csv"): _runs,
    ("results", "What is measured?", "manifest.json; metrics"): _measure,
    ("results", "Which error bars, and of what?", "params: seeds"): _error_bars,
    ("results", "Which claims do the results decide?", "params/claims; the tables"): _tested,
    ("computing", "What does training cost?", "history.jsonl of train"): _cost,
    ("computing", "How long does it take?", _NOTES): _time,
    ("computing", "On which machines?", _NOTES): _machine,
    ("computing", "With which libraries?", _NOTES): _software,
    ("computing", "In which precision, on which device?", "params: train"): _precision,
    ("code", "Which commits made the results?", _NOTES): _commits,
    ("code", "Under which licence is the code?", "metadata of the package"): _licence,
    ("code", "Which trained models come with it?", "models.json of export"): _models,
}
