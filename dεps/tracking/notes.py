"""Markdown notes for the MLflow UI: what an experiment or a run is, and how to reproduce it.

They go into the store with kinds and saved views, but only where they have changed.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Run

from dεps.core.params import section
from dεps.data.manifest import prepared_folder, read_manifest
from dεps.deploy.export.config import macs_text
from dεps.report.style import FAINT, FULL, colours
from dεps.tracking.changes import CHANGED_TAG
from dεps.tracking.private import COLOUR_TAG, NOTE_TAG, SIDE, SIDE_TAG, image_link, run_link
from dεps.tracking.store import Store
from dεps.tracking.views import FINETUNED_KIND, KIND, METHOD_KIND, RANKING, VIEW_TAG, charts_link, table_link, view_tag
from dεps.tuning.verdict import verdict
from dεps.workspace.identity import (
    FINETUNE,
    FULL_MODEL,
    STANDALONE,
    RunIdentity,
    digest,
    finetuned_of,
    run_identity,
)
from dεps.workspace.outputs import FRONT, PARETO, POPULATION

#: tag with the digest of the note in the store, which is rewritten only if it changes
PART_TAG = "deps.part.note"
#: an experiment's tag with a digest of the tags that were written, so that later changes made in the UI stay
WRITTEN_TAG = "mlflow.depsWritten"
#: a run's own params, as overrides for `deps params +from=`
PARAMS_FOLDER = "params"
PARETO_FIGURE = "figures/pareto.png"
#: placeholders for ids and for the command that checks out the commit
EXPERIMENT, RUN, COMMIT = "--experiment--", "--run--", "--commit--\n"
_METHODS = Path(__file__).resolve().parent.parent / "methods"


@dataclass(frozen=True)
class Note:
    """A run's description, independent of the store."""

    kind: str
    #: with COMMIT, EXPERIMENT and RUN, which stand for what only the store knows
    paragraphs: tuple[str, ...]
    #: what a `deps params +from=` file of the run's parameters holds, and its name
    params: str = ""
    params_name: str = ""
    #: "#RRGGBB"; empty: as the UI chooses
    colour: str = ""

    @property
    def content(self) -> str:
        """Return a digest of the note and of how runs are described."""
        return digest([self.kind, self.paragraphs, self.params, self.params_name, CHANGED_TAG, self.colour])

    def text(self, experiment_id: str, run_id: str, commit: str) -> str:
        """Return the Markdown."""
        commit, changes, _ = commit.partition("+")
        note = "   # and changes that were not committed" if changes else ""
        checkout = "" if commit == "unknown" else f"git checkout {commit[:12]}{note}\n"
        text = "\n\n".join(self.paragraphs)
        return text.replace(EXPERIMENT, experiment_id).replace(RUN, run_id).replace(COMMIT, checkout)


def describe_run(store: Store, run: Run, note: Note, tags: Callable[[], Mapping[str, str]] = dict) -> bool:
    """Give a run this note with its kind and params file, and `tags`; returns False if it already has the note."""
    if run.data.tags.get(PART_TAG) == note.content:
        return False
    run_id, commit = run.info.run_id, run.data.tags.get("git_commit", "unknown")
    if note.params:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, note.params_name)
            path.write_text(note.params, "utf-8")
            store.client.log_artifact(run_id, str(path), PARAMS_FOLDER)
    text = note.text(run.info.experiment_id, run_id, commit)
    own = {COLOUR_TAG: note.colour} if note.colour else {}
    store.log(run_id, [], {NOTE_TAG: text, KIND: note.kind, PART_TAG: note.content, **own, **tags()})
    return True


def describe_experiment(store: Store, params: Mapping[str, Any], name: str, run_id: str | None) -> None:
    """Give an experiment its description and the saved view of its methods; `run_id` names a run with its figures."""
    found = store.client.get_experiment_by_name(name)
    tags = experiment_tags(params, name, read_manifest(prepared_folder(name)), found.experiment_id, run_id)
    written = digest(tags)
    if found.tags.get(WRITTEN_TAG) != written:
        for key, value in (tags | {WRITTEN_TAG: written}).items():
            if found.tags.get(key) != value:
                store.client.set_experiment_tag(found.experiment_id, key, value)


def give_view(store: Store, params: Mapping[str, Any], name: str) -> str:
    """Give an experiment, which is created if absent, its saved view; returns the experiment's id."""
    experiment = store.experiment_id(name)
    tags = _view_tags(params, name, read_manifest(prepared_folder(name)))
    known = store.client.get_experiment(experiment).tags
    for key, value in tags.items():
        if known.get(key) != value:
            store.client.set_experiment_tag(experiment, key, value)
    return experiment


def _view_tags(params: Mapping[str, Any], name: str, manifest: Mapping[str, Any]) -> dict[str, str]:
    methods, seed = params["methods"], params["seeds"][0]
    own = [run_identity(dict(params), name, method, seed, manifest).params for method in methods]
    varying = [key for key, value in own[0].items() if len({one.get(key) for one in own}) > 1]
    common = [key for key in varying if all(key in one for one in own)]
    return {VIEW_TAG: view_tag(common), SIDE_TAG: SIDE}


def colour(identity: RunIdentity, methods: Sequence[str] = ()) -> str:
    """Return a training's colour in the report's figures, where `methods` are compared; a lighter grey of archs alone.

    There a star and a diamond tell the full model from them, here all marks are dots.
    """
    found = finetuned_of(identity.method)
    name = found[0] if found else identity.method
    kinds = (METHOD_KIND, FINETUNED_KIND)
    if kind_of(identity) in kinds:
        return colours(sorted({*methods, name}))[name]
    return FULL if identity.method == FULL_MODEL else FAINT


def kind_of(identity: RunIdentity) -> str:
    """Return what kind of run a training is, for the saved view."""
    kinds = {FULL_MODEL: "full model", STANDALONE: "alone", FINETUNE: FINETUNED_KIND}
    return kinds.get(_method(identity), METHOD_KIND)


def run_note(
    params: Mapping[str, Any], identity: RunIdentity, stages: Iterable[str], metrics: Mapping[str, float], figures: bool
) -> Note:
    """Return the note of a training: of the full model, of one arch alone, of a method, or of its subnet trained on.

    The stages are those that made the run's results, training first; `figures` says whether it has the experiment's.
    """
    kind, stages = kind_of(identity), list(stages)
    data, space = (identity.tags[key] for key in ("dataset", "space"))
    # One instance of stage `reference` measures everything that is trained alone.
    instance = f"{stages[-1]}@{identity.experiment}-{identity.name}"
    target = instance if kind == METHOD_KIND else f"reference@{identity.experiment}"
    if found := finetuned_of(identity.method):
        target = f"{FINETUNE}@{identity.experiment}-{'-'.join(found)}-{identity.seed}"
    files = {"supernet/supernet.safetensors": "weights", "train/history.jsonl": "training records"}
    files |= {one.name: one.file.removesuffix(".csv") for one in (PARETO, POPULATION, FRONT) if one.stage in stages}
    files |= {PARETO_FIGURE: "figures"} if figures else {}
    links = (f"[{title}]({run_link(EXPERIMENT, RUN, path)})" for path, title in files.items())
    paragraphs = (
        f"**{identity.method}**, seed {identity.seed}, on {data} with {space}: {_summary(_method(identity))}",
        _results(metrics),
        f"![Pareto points]({image_link(RUN, PARETO_FIGURE)})" if figures else "",
        _again(identity, f"dvc repro {target}"),
        f"**Files**: {', '.join(links)}. {_comparison(EXPERIMENT)}.",
    )
    paragraphs, own = tuple(filter(None, paragraphs)), colour(identity, params["methods"])
    return Note(kind, paragraphs, _overrides(params, identity), f"{identity.name}.yaml", own)


def study_note(params: Mapping[str, Any], identity: RunIdentity, summary: Mapping[str, float]) -> Note:
    """Return the note of an Optuna study."""
    what = "an [Optuna](https://optuna.org) study of shrink timing and the ε ramp, on validation"
    trials = f"{summary.get('tune/trials', 0):.0f} trials, runs below this one"
    experiment, result = identity.experiment, verdict(summary) or "none"
    # As the head of best.yaml has it: with another number of trials the next `dvc repro` would make another study.
    asked = f"experiments.{experiment}.tuning.trials={section(params, 'experiments', experiment, 'tuning')['trials']}"
    taken = f"`deps params experiment=[{experiment}] {asked} +from=runs/{experiment}/tune/best.yaml`"
    paragraphs = (
        f"**Study**, seed {identity.seed}, on {identity.tags['dataset']}: {what}; {trials}. Result: {result}.",
        _again(identity, f"dvc repro tune@{experiment}"),
        f"Its best trial becomes the method's parameters with {taken}. {_comparison(EXPERIMENT)}.",
    )
    return Note(identity.tags[KIND], paragraphs, _overrides(params, identity), f"{identity.name}.yaml")


def trial_note(identity: RunIdentity, study: RunIdentity, method: str) -> Note:
    """Return the note of a study's trial, a shrink phase of `method`."""
    tags, file, experiment = identity.tags, f"{study.name}.yaml", identity.experiment
    own = {key: value for key, value in identity.params.items() if key.startswith("method.")}
    overrides = " ".join(f"experiments.{experiment}.methods.{method}{key[6:]}={value}" for key, value in own.items())
    compose = f"deps params experiment=[{experiment}] +from={file} methods=[{method}] {overrides}"
    run = f"dvc repro evaluate@{experiment}-{method}-{identity.seed}"
    point = f", the given point *{tags['point']}*" if tags["point"] else ""
    what = f"**Trial {tags['trial']}**{point}, {tags['state']}: {_summary(own.get('method.method', method))}"
    how = f"**As a method**, with {file} of the study's artifacts:\n\n```\n{COMMIT}{compose}\n{run}\n```"
    return Note(tags[KIND], (what, how))


def experiment_tags(
    params: Mapping[str, Any], name: str, manifest: Mapping[str, Any], experiment_id: str, run_id: str | None
) -> dict[str, str]:
    """Return the tags of a whole experiment: its note, saved view, data and space."""
    data, space = str(manifest["name"]), str(section(params, "experiments", name, "space")["name"])
    methods, seeds = params["methods"], [str(seed) for seed in params["seeds"]]
    images, classes = manifest["images"]["train"], len(manifest["classes"])
    results, claims = (Path("reports") / "experiments" / name / f"{file}.md" for file in ("results", "claims"))
    shown = run_id and (results.parent / "pareto.png").exists()
    choice = f"experiment=[{name}] methods=[{','.join(methods)}] seeds=[{','.join(seeds)}]"
    paragraphs = (
        f"{data}, {images:,} training images of {classes:,} classes; {space}; {', '.join(methods)}; "
        f"seeds {', '.join(seeds)}. {_comparison(experiment_id)}.",
        results.read_text("utf-8") if results.exists() else "",
        f"**The papers' claims**: {claims.read_text('utf-8')}" if claims.exists() else "",
        f"![Pareto points]({image_link(run_id, PARETO_FIGURE)})" if run_id and shown else "",
        f"Made by\n\n```\ndeps params {choice}\ndvc repro\n```",
        "Exact parameters of each run are among its artifacts, and how to make it again in its note.",
    )
    note = "\n\n".join(filter(None, paragraphs))
    return {NOTE_TAG: note, **_view_tags(params, name, manifest), "dataset": data, "space": space}


def _method(identity: RunIdentity) -> str:
    """Return the name of the file in `dεps/methods/` behind a run's method; several methods may share one."""
    return identity.params.get("method.method", FULL_MODEL)


def _comparison(experiment_id: str) -> str:
    return f"Methods side by side: [table]({table_link(experiment_id)}), [charts]({charts_link(experiment_id)})"


def _again(identity: RunIdentity, command: str) -> str:
    file, same = f"{identity.name}.yaml", f"Runs of the identity `{identity.digest}` give the same bits."
    code = f"deps params experiment=[{identity.experiment}] +from={file}\n{command}"
    where = f"[{file}]({run_link(EXPERIMENT, RUN, f'{PARAMS_FOLDER}/{file}')})"
    return f"**Make it again**, with {where} of the artifacts:\n\n```\n{COMMIT}{code}\n```\n\n{same}"


def _overrides(params: Mapping[str, Any], identity: RunIdentity) -> str:
    """Return the run's part of params, in the form that `deps params +from=` takes."""
    own = dict(section(params, "experiments", identity.experiment))
    methods = own.pop("methods")
    # The preset takes it from the list of seeds.
    own["tuning"] = {key: value for key, value in own.get("tuning", {}).items() if key != "seed"}
    found = finetuned_of(identity.method)
    own_method = found[0] if found else identity.method
    known = {own_method: methods[own_method]} if own_method in methods else {}
    # ++: the preset may have other keys, as that of another data set.
    data: dict[str, Any] = {"++experiments": {identity.experiment: own | ({"methods": known} if known else {})}}
    data |= {"methods": list(known)} if known else {}
    data |= {"standalone": [identity.params["method.arch"]]} if "method.arch" in identity.params else {}
    data |= {"finetuned": [found[1]]} if found else {}
    # Said always: presets differ in it.
    data |= {"seeds": [identity.seed], "portable": bool(params.get("portable"))}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _results(metrics: Mapping[str, float]) -> str:
    there = [metric for metric in RANKING if metric.key in metrics]
    if not there:
        return ""
    values = [f"{metrics[one.key]:.{one.decimals}f}" for one in there]
    rows = ([one.heading for one in there], ["---:"] * len(there), values)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    keys = [f"pareto/{size}_macs" for size in ("smallest", "largest")]
    if not all(key in metrics for key in keys):
        return table
    smallest, largest = (macs_text(metrics[key]) for key in keys)
    return f"{table}\n\nOf the Pareto points on offer the smallest has {smallest} MACs, the largest {largest}."


@cache
def _summary(method: str) -> str:
    """Return the first line of a method's docstring; empty if there is no such method."""
    path = _METHODS / f"{method}.py"
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) if path.is_file() else None
    return text.splitlines()[0] if text else ""
