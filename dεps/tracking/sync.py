"""From result files to MLflow: rebuilds or completes the store, as often as wanted, without duplicates.

A run is made of parts (training, evaluation, …). Each part's content hash is kept as a tag of the MLflow run; a part
whose hash is there already is left alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from dεps.core.console import say, warn
from dεps.core.files import read_json, read_numbers, read_records
from dεps.core.hashing import SHORT, sha256
from dεps.core.params import selected
from dεps.data.manifest import read_manifest
from dεps.tracking import place
from dεps.tracking.changes import changed
from dεps.tracking.describe import describe_experiment, describe_run
from dεps.tracking.notes import Note, run_note
from dεps.tracking.registry import sync_models
from dεps.tracking.store import Store, Watch, contradict, missing, record_metrics
from dεps.tracking.studies import sync_studies
from dεps.workspace.address import masked, patience, reason, tracking_uri
from dεps.workspace.identity import FULL_MODEL, STANDALONE, RunIdentity, git_commit, run_identity, standalone_method
from dεps.workspace.live import read_live
from dεps.workspace.outputs import HISTORY, METRICS, SUPERNET
from dεps.workspace.stage import Context

TRAIN = "train"


@dataclass(frozen=True)
class Part:
    """One stage's results as one MLflow run shows them: metrics from a JSON file, artifacts from a folder."""

    name: str
    metrics: Path | None
    artifacts: tuple[Path, ...]

    def hash(self) -> str:
        """Of all content."""
        paths = (*([self.metrics] if self.metrics else []), *self.artifacts)
        named = (path.name.encode() + bytes.fromhex(sha256(path.read_bytes())) for path in paths)
        return sha256(b"".join(named))[:SHORT]


def sync(params: dict[str, Any], store: Store | None = None) -> tuple[int, int]:
    """Bring every selected run of `params` that has results into the store; returns (runs, runs that changed)."""
    store = store or Store()
    runs = changed = 0
    newest: dict[str, str] = {}
    for context in instances(params):
        if not (context.folder(context.stage) / HISTORY).exists():
            continue
        manifest = read_manifest(context.data_folder())
        identity = run_identity(params, context.experiment, _method(context), context.seed, manifest)
        runs += 1
        newest[context.experiment], new = _sync_run(store, context, identity, manifest)
        changed += new
    for name, run_id in newest.items():
        describe_experiment(store, params, name, run_id)
    studies, new = sync_studies(params, store)
    return runs + studies, changed + new + sync_models(params, store) + end_killed(store, params["names"])


def end_killed(store: Store, experiments: list[str]) -> int:
    """Mark runs as killed that are RUNNING though this machine, where they were begun, works on them no more."""
    ended = 0
    for name in experiments:
        experiment = store.client.get_experiment_by_name(name)
        if experiment is None:
            continue
        mine = f"tags.`{place.HOST_TAG}` = '{place.host()}' and tags.`{place.WORK_TAG}` LIKE '{place.workspace()}/%'"
        for run in store.client.search_runs([experiment.experiment_id], f"attributes.status = 'RUNNING' and {mine}"):
            work = run.data.tags[place.WORK_TAG].partition("/")[2]
            if place.is_worked_on(work):
                continue
            _, entries, _ = read_live(place.live_file(work))
            last = entries[-1]["time"] if entries else run.info.start_time
            store.client.set_terminated(run.info.run_id, "KILLED", end_time=max(last, run.info.start_time))
            ended += 1
    return ended


def instances(params: dict[str, Any]) -> Iterator[Context]:
    """Every training that `params` selects: of the full model, of archs alone, and of methods, for each seed."""
    names, methods, alone, seeds = (selected(params, key) for key in ("names", "methods", "standalone", "seeds"))
    for experiment in names:
        for seed in seeds:
            yield Context(FULL_MODEL, experiment, None, seed, params)
        for arch in alone:
            for seed in seeds:
                yield Context(STANDALONE, experiment, None, seed, params, arch)
        for method in methods:
            for seed in seeds:
                yield Context(TRAIN, experiment, method, seed, params)


def _method(context: Context) -> str:
    """The training's method, or what stands in its place."""
    return context.method or (standalone_method(context.arch) if context.arch else FULL_MODEL)


def _stages(context: Context) -> tuple[str, ...]:
    """The stages whose instances make up the run, training first."""
    return (TRAIN, "evaluate", "predict", "search") if context.stage == TRAIN else (context.stage,)


def _parts(context: Context) -> Iterator[Part]:
    folder = context.folder(context.stage)
    weights = folder / SUPERNET
    yield Part(TRAIN, None, (folder / HISTORY, *([weights] if weights.exists() else [])))
    metrics = context.folder("reference", f"{context.stage}/{context.instance}.json")
    if metrics.exists():
        yield Part("reference", metrics, ())
    for stage in _stages(context)[1:]:
        results = context.folder(stage)
        if (results / METRICS).exists():
            yield Part(stage, results / METRICS, tuple(sorted(results.glob("*.csv"))))
    figures = Path("reports") / "experiments" / context.experiment
    if images := tuple(sorted(figures.glob("*.png"))):
        yield Part("figures", None, images)


def _sync_run(store: Store, context: Context, identity: RunIdentity, manifest: dict[str, Any]) -> tuple[str, bool]:
    """Bring one run up to date: its id, and whether anything was new."""
    folder = context.folder(context.stage)
    history = read_records(folder / HISTORY, "epoch")
    times = _times(context, identity, folder / HISTORY)
    parts = {part.name: (part, part.hash()) for part in _parts(context)}
    metrics = [metric for record in history for metric in record_metrics(record, times(record))]
    run = store.find(identity)
    known = run.data.tags if run else {}
    points = store.points(run) if run and _tag(TRAIN) not in known else {}
    if known.get(_tag(TRAIN), parts[TRAIN][1]) != parts[TRAIN][1] or contradict(points, metrics):
        store.client.delete_run(run.info.run_id)  # other content under the same parameters: the code has changed
        run, known, points = None, {}, {}
    run = run or store.create(identity, git_commit(), times(history[0]))
    run_id = run.info.run_id
    store.complete(run, identity)
    new = {name: part for name, part in parts.items() if known.get(_tag(name)) != part[1]}
    described = describe_run(store, run, _note(context, identity, parts, history), lambda: changed(identity))
    if not new and run.info.status == "FINISHED":
        return run_id, described
    store.log(run_id, _durations(context))
    for name, (part, content) in new.items():
        if name == TRAIN:
            store.log(run_id, missing(points, metrics))
            _log_dataset(store, run_id, identity, manifest)
        if part.metrics:
            written = int(part.metrics.stat().st_mtime * 1000)
            values = _numbers(read_json(part.metrics))
            store.log(run_id, [Metric(key, value, written, 0) for key, value in values.items()])
        for path in part.artifacts:
            store.client.log_artifact(run_id, str(path), "supernet" if path.suffix == ".safetensors" else name)
        store.log(run_id, [], {_tag(name): content})
    store.client.set_terminated(run_id, "FINISHED", end_time=times(history[-1]))
    return run_id, True


def _note(
    context: Context, identity: RunIdentity, parts: Mapping[str, tuple[Part, str]], history: list[dict[str, Any]]
) -> Note:
    metrics = _numbers(history[-1])
    for part, _ in parts.values():
        metrics |= _numbers(read_json(part.metrics)) if part.metrics else {}
    figures = "figures" in parts and any(path.name == "pareto.png" for path in parts["figures"][0].artifacts)
    return run_note(context.params, identity, _stages(context), metrics, figures)


def _tag(part: str) -> str:
    return f"deps.part.{part}"


def _times(context: Context, identity: RunIdentity, history: Path) -> Any:
    """Wall-clock in ms of a record: as noted while training, or else the result file's own time."""
    header, entries, _ = read_live(context.state("live", ".jsonl"))
    same = header.get("digest") == identity.digest
    known = {json.dumps(entry["record"]): entry["time"] for entry in entries} if same else {}
    fallback = int(history.stat().st_mtime * 1000)
    return lambda record: known.get(json.dumps(record), fallback)


def _numbers(data: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in data.items() if isinstance(value, int | float)}


def _durations(context: Context) -> list[Metric]:
    """Seconds of each stage of this run, from the notes that stages leave."""
    metrics = []
    for stage in _stages(context):
        path = replace(context, stage=stage).state("timing", ".json")
        if path.exists():
            note = read_numbers(path, "seconds", "started")
            metrics.append(Metric(f"time/{stage}_seconds", float(note["seconds"]), int(note["started"] * 1000), 0))
    return metrics


def _log_dataset(store: Store, run_id: str, identity: RunIdentity, manifest: dict[str, Any]) -> None:
    dataset = Dataset(
        name=identity.tags["dataset"],
        digest=identity.tags["data_hash"],
        source_type="local",
        source=json.dumps({"source": manifest["source"]}),
        schema=json.dumps({"classes": len(manifest["classes"]), "size": manifest["size"]}),
        profile=json.dumps({"images": manifest["images"], "mean": manifest["mean"], "std": manifest["std"]}),
    )
    store.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def track(params: dict[str, Any], uri: str | None = None) -> bool:
    """`sync` with a line about what was done; False and a warning where the store cannot be used or falls silent.

    A server's calls have timeouts of their own, which one that answers drop by drop escapes; so do name look-ups and
    stores that are no servers. Therefore the work is done in a thread that is left alone when a call takes too long.
    """
    list(instances(params))  # wrong params are an error, and make no store
    uri = uri or tracking_uri()
    watch = Watch(patience(uri))
    outcome: list[tuple[int, int] | Exception] = []

    def work() -> None:
        try:
            outcome.append(sync(params, Store(uri, watch)))
        except Exception as error:
            outcome.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive() and time.monotonic() < watch.deadline:
        thread.join(0.1)
    watch.given_up = True
    result = outcome[0] if outcome else TimeoutError(f"no answer in {watch.seconds:.0f} s")
    if isinstance(result, MlflowException | OSError | SQLAlchemyError):
        why = reason(result, uri)
        warn(f"MLflow was not brought up to date ({why}); 'deps track' tries again")
        return False
    if isinstance(result, Exception):
        raise result
    say(f"track: {result[0]} runs in {masked(uri, uri)}, {result[1]} new or changed")
    return True
