"""Studies in MLflow: one parent run per study and one child run per trial, from the files of stage `tune`.

A trial's run has the tags, parameters and metrics of a method's run, but for the tag `kind`, so that both compare.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from mlflow.entities import Metric

from dεps.core.files import read_numbers
from dεps.core.params import section, selected
from dεps.core.tables import records
from dεps.data.manifest import prepared_folder, read_manifest
from dεps.tracking.notes import Note, describe_run, study_note, trial_note
from dεps.tracking.private import PARENT_TAG
from dεps.tracking.store import Store, record_metrics
from dεps.tracking.today import Today, item_of
from dεps.tracking.views import KIND, STUDY_KIND, TRIAL_KIND
from dεps.tuning.config import as_option
from dεps.tuning.identity import STAGE, study_digest
from dεps.workspace.identity import RunIdentity, digest, flatten, run_identity
from dεps.workspace.live import Origin
from dεps.workspace.outputs import BEST, STUDY, SUMMARY, TRIAL_CURVES, TRIALS

METHOD = "deps"
CONTENT = "deps.part.tune"
#: the metric of a method's run by the column of trials.csv that holds the same number
METRICS = {
    "val_top1": "pareto/mean_val_top1",
    "val_smallest_top1": "pareto/smallest_val_top1",
    "val_largest_top1": "pareto/largest_val_top1",
    "train_tmacs": "cost/train_tmacs",
    "own_tmacs": "cost/own_tmacs",
}


def sync_studies(params: dict[str, Any], store: Store, today: Today) -> tuple[int, int]:
    """Bring every selected experiment's study into the store; returns (runs, runs that changed).

    One of other params than today's is left out, as is one that the store has already with other params, where nothing
    else says which it is of.
    """
    runs = changed = 0
    for experiment in selected(params, "names"):
        folder = Path("runs") / experiment / STAGE
        if not (folder / TRIALS.file).exists() or not len(trials := TRIALS.read(folder)):
            continue
        manifest, curves = read_manifest(prepared_folder(experiment)), TRIAL_CURVES.read(folder)
        study, item = _study_identity(params, experiment, manifest), item_of(STAGE, experiment)
        fits = today.fits(item, *(folder / name for name in (TRIALS.file, SUMMARY)))
        if fits is False:
            today.leave_out(item)
            continue
        if fits is None and store.find(study) is None and _is_known(store, study, folder):
            today.leave_there(item)
            continue
        parent, new = _sync_parent(params, store, study, folder)
        if fits is None and new:
            today.doubt(item)
        changed += new
        for row, curve, identity in _trials(params, study, manifest, trials, curves):
            changed += _sync_trial(store, study, identity, parent, row, curve, _time(folder))
        runs += 1 + len(trials)
    return runs, changed


def _study_identity(params: dict[str, Any], experiment: str, manifest: dict[str, Any]) -> RunIdentity:
    tuning = section(params, "experiments", experiment, "tuning")
    run = run_identity(params, experiment, METHOD, tuning["seed"], manifest)
    parameters = {key: text for key, text in run.params.items() if not key.startswith("method.")}
    own = section(params, "experiments", experiment) | {"portable": params.get("portable", False)}
    return replace(
        run,
        method=STAGE,
        digest=study_digest(experiment, own, run.tags["data_hash"]),
        params=parameters | flatten({"tuning": tuning}),
        tags={**run.tags, "method": STAGE, KIND: STUDY_KIND},
    )


def _trials(
    params: dict[str, Any], study: RunIdentity, manifest: dict[str, Any], trials: pd.DataFrame, curves: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], RunIdentity]]:
    """Yield each trial's row, epochs and identity, which is that of a method with the trial's options."""
    experiment = section(params, "experiments", study.experiment)
    base = experiment["tuning"]["base"]
    for row in records(trials):
        row = {key: as_option(value) for key, value in row.items()}
        number = row["trial"]
        method = {key: row.get(key, value) for key, value in base.items()}
        own = {**params, "experiments": {study.experiment: {**experiment, "methods": {METHOD: method}}}}
        run = run_identity(own, study.experiment, METHOD, study.seed, manifest)
        tags = {KIND: TRIAL_KIND, "trial": str(number), "study": study.digest, "state": row["state"]}
        tags |= {"point": row["point"] or "", "best": str(bool(row["best"])), "front": str(bool(row["front"]))}
        name, own_digest = f"trial-{number}", digest([study.digest, number])
        identity = replace(run, method=name, digest=own_digest, tags={**run.tags, **tags})
        epochs = curves[curves.trial == number].drop(columns="trial")
        yield row, [epoch.dropna().to_dict() for _, epoch in epochs.iterrows()], identity


def _is_known(store: Store, study: RunIdentity, folder: Path) -> bool:
    """Tell whether the store has this study with whatever params."""
    where = f"attributes.status = 'FINISHED' and tags.`{CONTENT}` = '{_content(study, folder)}'"
    return bool(store.client.search_runs([store.experiment_id(study.experiment)], where, max_results=1))


def _files(study: RunIdentity, folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a study's files and figures."""
    figures = sorted((Path("reports") / "experiments" / study.experiment).glob("tuning*.png"))
    return [folder / name for name in (*(table.file for table in STUDY), BEST)], figures


def _content(study: RunIdentity, folder: Path) -> str:
    files = itertools.chain(*_files(study, folder))
    return digest([read_numbers(folder / SUMMARY), *(path.read_bytes().hex() for path in files)])


def _sync_parent(params: dict[str, Any], store: Store, identity: RunIdentity, folder: Path) -> tuple[str, bool]:
    files, figures = _files(identity, folder)
    summary, time, content = read_numbers(folder / SUMMARY), _time(folder), _content(identity, folder)
    metrics = [Metric(key, float(value), time, 0) for key, value in summary.items()]
    artifacts = {path: "figures" if path in figures else STAGE for path in (*files, *figures)}
    return _sync_run(store, identity, study_note(params, identity, summary), content, metrics, time, artifacts)


def _sync_trial(
    store: Store,
    study: RunIdentity,
    identity: RunIdentity,
    parent: str,
    row: dict[str, Any],
    curve: list[dict[str, Any]],
    time: int,
) -> bool:
    metrics = [metric for record in curve for metric in record_metrics(record, time)]
    known, epoch = {metric.key for metric in metrics}, int(curve[-1]["epoch"]) if curve else 0
    for column, name in METRICS.items():
        if row[column] is not None and name not in known:
            metrics.append(Metric(name, float(row[column]), time, epoch))
    identity = replace(identity, tags={**identity.tags, PARENT_TAG: parent})
    return _sync_run(store, identity, trial_note(identity, study, METHOD), digest([row, curve, parent]), metrics, time)[
        1
    ]


def _sync_run(
    store: Store,
    identity: RunIdentity,
    note: Note,
    content: str,
    metrics: list[Metric],
    time: int,
    artifacts: Mapping[Path, str] = MappingProxyType({}),
) -> tuple[str, bool]:
    """Bring a run up to date with a hash of its content; returns its id, and whether anything was new."""
    run, is_trial = store.find(identity), PARENT_TAG in identity.tags
    if run and run.data.tags.get(CONTENT) == content and run.info.status != "RUNNING":
        return run.info.run_id, describe_run(store, run, note)
    # The code has changed: another study has the same parameters, and MLflow takes no point back.
    numbers = {metric.key: metric.value for metric in metrics}
    if run and (is_trial or any(numbers.get(key) != value for key, value in run.data.metrics.items())):
        store.client.delete_run(run.info.run_id)
        run = None
    run = run or store.create(identity, Origin.here(time))
    run_id = run.info.run_id
    describe_run(store, run, note)
    store.complete(run, identity)
    store.log(run_id, metrics)
    for path, kind in artifacts.items():
        store.client.log_artifact(run_id, str(path), kind)
    store.log(run_id, [], {CONTENT: content})
    is_complete = identity.tags.get("state", "complete") == "complete"
    store.client.set_terminated(run_id, "FINISHED" if is_complete else "KILLED", end_time=time)
    return run_id, True


def _time(folder: Path) -> int:
    return int((folder / TRIALS.file).stat().st_mtime * 1000)
