"""Markdown notes for the MLflow UI: what an experiment or a run is, and how to reproduce it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dεps.core.params import section
from dεps.deploy.export.config import macs_text
from dεps.tracking.changes import CHANGED_TAG
from dεps.tracking.private import NOTE_TAG, SIDE, SIDE_TAG, image_link, run_link
from dεps.tracking.views import KIND, METHOD_KIND, RANKING, VIEW_TAG, charts_link, table_link, view_tag
from dεps.tuning.verdict import verdict
from dεps.workspace.identity import FULL_MODEL, STANDALONE, RunIdentity, digest
from dεps.workspace.outputs import FRONT, PARETO, POPULATION

#: tag with the digest of the note in the store, which is rewritten only if it changes
PART_TAG = "deps.part.note"
#: a run's own params, as overrides for `deps params +from=`
PARAMS_FOLDER = "params"
PARETO_FIGURE = "figures/pareto.png"
#: placeholders for ids and for the command that checks out the commit
EXPERIMENT, RUN, COMMIT = "--experiment--", "--run--", "--commit--\n"
_METHODS = Path(__file__).resolve().parent.parent / "methods"


@dataclass(frozen=True)
class Note:
    """A run's description, independent of the store.

    `paragraphs` may contain COMMIT, EXPERIMENT and RUN, which stand for what only the store knows.
    """

    kind: str
    paragraphs: tuple[str, ...]
    #: what a `deps params +from=` file of the run's parameters holds, and its name
    params: str = ""
    params_name: str = ""

    @property
    def content(self) -> str:
        """Return a digest of the note and of how runs are described."""
        return digest([self.kind, self.paragraphs, self.params, self.params_name, CHANGED_TAG])

    def text(self, experiment_id: str, run_id: str, commit: str) -> str:
        """Return the Markdown."""
        values = {EXPERIMENT: experiment_id, RUN: run_id, COMMIT: _checkout(commit)}
        text = "\n\n".join(self.paragraphs)
        for key, value in values.items():
            text = text.replace(key, value)
        return text


def kind_of(identity: RunIdentity) -> str:
    """Return what kind of run a training is, for the saved view."""
    return {FULL_MODEL: "full model", STANDALONE: "alone"}.get(_method(identity), METHOD_KIND)


def run_note(
    params: Mapping[str, Any], identity: RunIdentity, stages: Iterable[str], metrics: Mapping[str, float], figures: bool
) -> Note:
    """Return the note of a training: of the full model, of one arch alone, or of a method.

    Args:
        params: content of `params.yaml`.
        identity: the run's identity.
        stages: the stages that made the run's results, training first.
        metrics: the run's results.
        figures: whether the run has the experiment's figures.
    """
    kind, stages = kind_of(identity), list(stages)
    data, space = (identity.tags[key] for key in ("dataset", "space"))
    what = f"**{identity.method}**, seed {identity.seed}, on {data} with {space}: {_summary(_method(identity))}"
    paragraphs = [what]
    if table := _results(metrics):
        paragraphs.append(table)
    if figures:
        paragraphs.append(f"![Pareto points]({image_link(RUN, PARETO_FIGURE)})")
    file = f"{identity.name}.yaml"
    # One instance of stage `reference` measures everything that is trained alone.
    instance = f"{stages[-1]}@{identity.experiment}-{identity.name}"
    target = instance if kind == METHOD_KIND else f"reference@{identity.experiment}"
    paragraphs.append(_again(identity.experiment, file, [f"dvc repro {target}"], _same(identity)))
    files = {"supernet/supernet.safetensors": "weights", "train/history.jsonl": "training records"}
    for stage, table in ((table.stage, table.file) for table in (PARETO, POPULATION, FRONT)):
        files |= {f"{stage}/{table}": table.removesuffix(".csv")} if stage in stages else {}
    files |= {PARETO_FIGURE: "figures"} if figures else {}
    links = (f"[{title}]({run_link(EXPERIMENT, RUN, path)})" for path, title in files.items())
    paragraphs.append(f"**Files**: {', '.join(links)}. {_comparison(EXPERIMENT)}.")
    return Note(kind, tuple(paragraphs), _overrides(params, identity), file)


def study_note(params: Mapping[str, Any], identity: RunIdentity, summary: Mapping[str, float]) -> Note:
    """Return the note of an Optuna study."""
    what = "an [Optuna](https://optuna.org) study of shrink timing and the ε ramp, on validation"
    trials = f"{summary.get('tune/trials', 0):.0f} trials, runs below this one"
    file, experiment = f"{identity.name}.yaml", identity.experiment
    return Note(
        identity.tags[KIND],
        (
            f"**Study**, seed {identity.seed}, on {identity.tags['dataset']}: {what}; {trials}. "
            f"Result: {verdict(summary) or 'none'}.",
            _again(experiment, file, [f"dvc repro tune@{experiment}"], _same(identity)),
            f"Its best trial becomes the method's parameters with "
            f"`deps params experiment=[{experiment}] +from=runs/{experiment}/tune/best.yaml`. "
            f"{_comparison(EXPERIMENT)}.",
        ),
        _overrides(params, identity),
        file,
    )


def trial_note(identity: RunIdentity, study: RunIdentity, method: str) -> Note:
    """Return the note of a study's trial, a shrink phase of `method`."""
    tags, file, experiment = identity.tags, f"{study.name}.yaml", identity.experiment
    own = {key: value for key, value in identity.params.items() if key.startswith("method.")}
    overrides = [f"experiments.{experiment}.methods.{method}{key[6:]}={value}" for key, value in own.items()]
    lines = [f"deps params experiment=[{experiment}] +from={file} methods=[{method}] {' '.join(overrides)}"]
    lines.append(f"dvc repro evaluate@{experiment}-{method}-{identity.seed}")
    point = f", the given point *{tags['point']}*" if tags["point"] else ""
    code = "\n".join(lines)
    return Note(
        tags[KIND],
        (
            f"**Trial {tags['trial']}**{point}, {tags['state']}: {_summary(own.get('method.method', method))}",
            f"**As a method**, with {file} of the study's artifacts:\n\n```\n{COMMIT}{code}\n```",
        ),
    )


def experiment_tags(
    params: Mapping[str, Any], name: str, manifest: Mapping[str, Any], experiment_id: str, run_id: str | None
) -> dict[str, str]:
    """Return the tags of a whole experiment: its note, saved view, data and space.

    `run_id` names a run that has the experiment's figures.
    """
    space = section(params, "experiments", name, "space")["name"]
    methods, seeds = ", ".join(params["methods"]), ", ".join(map(str, params["seeds"]))
    counts = manifest["images"]
    paragraphs = [
        f"{manifest['name']}, {counts['train']:,} training images of {len(manifest['classes']):,} classes; {space}; "
        f"{methods}; seeds {seeds}. {_comparison(experiment_id)}."
    ]
    results = Path("reports") / "experiments" / name / "results.md"
    if results.exists():
        paragraphs.append(results.read_text("utf-8"))
    if run_id and (results.parent / "pareto.png").exists():
        paragraphs.append(f"![Pareto points]({image_link(run_id, PARETO_FIGURE)})")
    choice = f"experiment=[{name}] methods=[{','.join(params['methods'])}] seeds={seeds_list(params)}"
    paragraphs.append(f"Made by\n\n```\ndeps params {choice}\ndvc repro\n```")
    paragraphs.append("Exact parameters of each run are among its artifacts, and how to make it again in its note.")
    return {
        NOTE_TAG: "\n\n".join(paragraphs),
        VIEW_TAG: view_tag(),
        SIDE_TAG: SIDE,
        "dataset": str(manifest["name"]),
        "space": str(space),
    }


def seeds_list(params: Mapping[str, Any]) -> str:
    """Return the seeds as the value of an override."""
    return f"[{','.join(map(str, params['seeds']))}]"


def _method(identity: RunIdentity) -> str:
    """Return the name of the file in `dεps/methods/` behind a run's method; several methods may share one."""
    return identity.params.get("method.method", FULL_MODEL)


def _same(identity: RunIdentity) -> str:
    return f"Runs of the identity `{identity.digest}` give the same bits."


def _comparison(experiment_id: str) -> str:
    return f"Methods side by side: [table]({table_link(experiment_id)}), [charts]({charts_link(experiment_id)})"


def _checkout(commit: str) -> str:
    commit, changes, _ = commit.partition("+")
    if commit == "unknown":
        return ""
    return f"git checkout {commit[:12]}{'   # and changes that were not committed' if changes else ''}\n"


def _again(experiment: str, file: str, commands: list[str], note: str) -> str:
    lines = [f"deps params experiment=[{experiment}] +from={file}", *commands]
    code = "\n".join(lines)
    where = f"[{file}]({run_link(EXPERIMENT, RUN, f'{PARAMS_FOLDER}/{file}')})"
    return f"**Make it again**, with {where} of the artifacts:\n\n```\n{COMMIT}{code}\n```\n\n{note}"


def _overrides(params: Mapping[str, Any], identity: RunIdentity) -> str:
    """Return the run's part of params, in the form that `deps params +from=` takes."""
    own = dict(section(params, "experiments", identity.experiment))
    methods = own.pop("methods")
    # The preset takes it from the list of seeds.
    own["tuning"] = {key: value for key, value in own.get("tuning", {}).items() if key != "seed"}
    known = {identity.method: methods[identity.method]} if identity.method in methods else {}
    # ++: the preset may have other keys, as that of another data set.
    data: dict[str, Any] = {"++experiments": {identity.experiment: own | ({"methods": known} if known else {})}}
    data |= {"methods": list(known)} if known else {}
    data |= {"standalone": [identity.params["method.arch"]]} if "method.arch" in identity.params else {}
    return yaml.safe_dump(data | {"seeds": [identity.seed]}, sort_keys=False, allow_unicode=True)


def _results(metrics: Mapping[str, float]) -> str:
    there = [metric for metric in RANKING if metric.key in metrics]
    if not there:
        return ""
    rows = ["| " + " | ".join(cells) + " |" for cells in ([one.heading for one in there], ["---:"] * len(there))]
    values = " | ".join(f"{metrics[one.key]:.{one.decimals}f}" for one in there)
    table = "\n".join([*rows, f"| {values} |"])
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
