"""Trainings in MLflow: one run each, made from the training's live file and from the results of its stages.

The hash of each part's content (training, evaluation, …) is a tag of the run; a part whose hash is there is left alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Run

from dεps.core.files import read_json, read_numbers, read_records
from dεps.core.hashing import SHORT, sha256
from dεps.data.manifest import read_manifest
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import SearchSpace
from dεps.tracking import place
from dεps.tracking.changes import changed
from dεps.tracking.notes import colour, describe_run, kind_of, run_note
from dεps.tracking.place import HOST_TAG, WORK_TAG, Work
from dεps.tracking.private import COLOUR_TAG, DATA_TAG
from dεps.tracking.store import IDENTITY_TAG, SYSTEM, Points, Store, contradict, record_metrics
from dεps.tracking.today import Today, item_of, name_of
from dεps.tracking.views import KIND, POINTS
from dεps.workspace.decides import STAGES, sections_behind
from dεps.workspace.identity import FINETUNE, STANDALONE, RunIdentity, run_identity
from dεps.workspace.live import Origin, Training, read_live
from dεps.workspace.outputs import HISTORY, METRICS, MODELS, PARETO, SUPERNET
from dεps.workspace.stage import Context

TRAIN = "train"
#: what each split of the data is to a run, by the part of its results that has seen it
_TEST = {"test": "test"}
_SPLITS = {TRAIN: {"train": "training", "validation": "validation"}}
_SPLITS |= {"evaluate": _TEST, "reference": _TEST, FINETUNE: _TEST}
#: tag with the hash of a training's history
TRAINED = f"deps.part.{TRAIN}"
#: weights of a training: they come and go, as they need not travel with results
WEIGHTS = "supernet"
FIGURES = "figures"


def put(
    store: Store,
    training: Training,
    contents: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[Run, bool]:
    """Bring a training's run up to date, or create it; returns the run, and whether anything was new.

    A run of the same identity that has other numbers than those here is deleted, because other code has made them:
    MLflow takes no point back. `contents` are hashes of parts with numbers, by tag, that of the history first; without
    them, so is a run that has results: its training runs again.
    """
    contents = contents or {}
    content = contents.get(TRAINED, "")
    identity = training.identity
    metrics = [metric for time, record in training.epochs for metric in record_metrics(record, time)]
    run = store.find(identity, lambda run: run.info.status == "RUNNING" and place.is_elsewhere(run.data.tags))
    known = run.data.tags.get(TRAINED, "") if run else ""
    points = store.points(run) if run and not known else {}
    machine: list[Metric] = []
    other = contradict(points, metrics)
    if run and known and known != content:
        other = not content or _is_other(store.points(run), metrics)
    if run and other:
        store.client.delete_run(run.info.run_id)
        run, known, points = None, "", {}
    elif run and any(run.data.tags.get(tag, own) != own for tag, own in contents.items() if tag != TRAINED):
        machine = store.machine(run)  # of the same training, and in no file
        store.client.delete_run(run.info.run_id)
        run, known, points = None, "", {}
    new = run is None
    tags = tags or {}
    run = run or store.create(
        identity, training.origin, {KIND: kind_of(identity), COLOUR_TAG: colour(identity), **tags}
    )
    if not tags.items() <= run.data.tags.items():
        store.log(run.info.run_id, [], dict(tags))
    store.complete(run, identity)
    store.log(run.info.run_id, machine)
    # Times do not count, since a repeated epoch has another.
    if not known and (left := [metric for metric in metrics if (metric.key, metric.step) not in points]):
        store.log(run.info.run_id, left)
        new = True
    return run, new


def _is_other(points: Points, metrics: Sequence[Metric]) -> bool:
    """Tell whether a run with results, whose history has another hash, has other numbers of training too.

    A hash that an earlier version has noted was of the weights as well, if there were any.
    """
    # Stages after training log at step 0, where no epoch ends, and Pareto points over MACs.
    trained = {(key, step) for key, step in points if step and key != POINTS}
    return contradict(points, metrics) or trained != {(one.key, one.step) for one in metrics}


def pass_on(store: Store, works: Iterable[Work], experiments: Iterable[str] = ()) -> int:
    """Bring the runs of running trainings, and those of `deps finetune`, up to date; returns how many runs changed.

    Runs in their experiments, and in `experiments`, whose training on this machine is over, are marked as what it is.
    """
    names, changed = dict.fromkeys(experiments), 0
    for work, training in ((work, read_live(work.live)) for work in works):
        names |= {training.identity.experiment: None} if training else {}
        if training and not training.ended and work.is_running:
            run, new = put(store, training, tags=work.tags(training))
            if run.info.status != "RUNNING":
                store.client.update_run(run.info.run_id, status="RUNNING")
            changed += new
        elif training and training.ended and work.is_of_command:
            changed += _finish(store, training)
    return changed + _end(store, names)


def _finish(store: Store, training: Training) -> bool:
    """Bring a training of `deps finetune` that has come to its end, and left no results, into the store."""
    run, new = put(store, training)
    if run.info.status != "FINISHED":
        _terminate(store, run, "FINISHED", training)
    return new


def log_system(store: Store, works: Iterable[Work], values: Mapping[str, float], now: int) -> None:
    """Log what the machine does as metrics of the trainings that run on it, by seconds since their beginning.

    `now` is in milliseconds since 1970. No file holds these numbers: what is not logged now never is.
    """
    for work in works:
        training = read_live(work.live)
        if training is None or training.ended or not work.is_running:
            continue
        run = store.find(training.identity, lambda run: place.is_elsewhere(run.data.tags))
        if run is not None and run.info.status == "RUNNING":
            step = max(0, now - training.origin.started) // 1000
            store.log(run.info.run_id, [Metric(f"{SYSTEM}/{key}", value, now, step) for key, value in values.items()])


def _end(store: Store, experiments: Iterable[str]) -> int:
    """Mark runs of this working copy and machine as killed or finished; returns how many changed."""
    found = (store.client.get_experiment_by_name(name) for name in experiments)
    ids, ended = [experiment.experiment_id for experiment in found if experiment], 0
    mine = f"tags.`{HOST_TAG}` = '{place.host()}' and tags.`{WORK_TAG}` LIKE '{place.workspace()}/%'"
    for run in store.client.search_runs(ids, f"attributes.status != 'FINISHED' and {mine}") if ids else ():
        work = place.work_of(run.data.tags)
        training = read_live(work.live)
        if training is not None and training.identity.digest != run.data.tags[IDENTITY_TAG]:
            training = None  # a later one, with other parameters
        status = "FINISHED" if training and training.ended else "KILLED"
        goes_on = training and not training.ended and work.is_running
        if goes_on or run.info.status == status:
            continue
        if training and TRAINED not in run.data.tags:
            run, _ = put(store, training)
        _terminate(store, run, status, training)
        ended += 1
    return ended


def _terminate(store: Store, run: Run, status: str, training: Training | None) -> None:
    """Set a run's end and status; a finished run loses the tags that say where it was running."""
    last = training.epochs[-1][0] if training and training.epochs else run.info.start_time
    store.client.set_terminated(run.info.run_id, status, end_time=max(last, run.info.start_time))
    if status == "FINISHED":
        _free(store, run)


def _free(store: Store, run: Run) -> None:
    for tag in {HOST_TAG, WORK_TAG} & run.data.tags.keys():
        store.client.delete_tag(run.info.run_id, tag)


@dataclass(frozen=True)
class Part:
    """One stage's results in a run: metrics from a JSON file, and files to keep as artifacts."""

    name: str
    metrics: Path | None
    artifacts: tuple[Path, ...]
    #: (MACs, top-1 on test in percent) of Pareto points
    points: tuple[tuple[int, float], ...] = ()

    def hash(self) -> str:
        """Return a hash of the whole content."""
        paths = filter(None, (self.metrics, *self.artifacts))
        named = [path.name.encode() + bytes.fromhex(sha256(path.read_bytes())) for path in paths]
        return sha256(b"".join(named) + (repr(self.points).encode() if self.points else b""))[:SHORT]

    def values(self) -> list[Metric]:
        """Return its metrics, of the time when they were written."""
        if not self.metrics:
            return []
        written = int(self.metrics.stat().st_mtime * 1000)
        metrics = [Metric(key, value, written, 0) for key, value in _numbers(read_json(self.metrics)).items()]
        return metrics + [Metric(POINTS, top1, written, round(macs / 1000)) for macs, top1 in self.points]


def sync_results(store: Store, context: Context, today: Today) -> tuple[str | None, bool]:
    """Bring a run up to date with the results of its stages; returns its id, and whether anything was new.

    Results of other params than today's are left out; without those of the training there is no run, and no id. A run
    that has all of these results stays the only one of them if they do not depend on params that have changed since.
    """
    manifest = read_manifest(context.data_folder())
    identity = run_identity(context.params, context.experiment, context.training, context.the_seed, manifest)
    training = _trained(context, identity)
    fit = dict[Part, bool | None]()
    for part in _parts(context):
        fit[part] = _fits(today, context, identity, part)
        if fit[part] is False:
            today.leave_out(_item(context, part))
            if part.name == TRAIN:
                return None, False
    parts = {part: part.hash() for part in fit if fit[part] is not False}
    # Weights and figures have no numbers: they are written over what there is.
    contents = {_tag(part.name): own for part, own in parts.items() if part.metrics or part.name == TRAIN}
    doubtful = [part for part in parts if fit[part] is None]
    own = store.find(identity)
    # One of other results gives way to those here only if these are known to be of today's params.
    is_new = own is None or (doubtful and own.data.tags.get(TRAINED) != contents[TRAINED])
    twin = _twin(store, training, contents) if is_new else None
    # Its own run, whose hash an earlier version has noted, is no twin: it is brought up to date.
    if twin and not (own and twin.info.run_id == own.info.run_id):
        stages = [context.stage, *(part.name for part in parts if part.name in STAGES and part.name != TRAIN)]
        if doubtful or _decide_alike(twin.data.params, identity.params, stages):
            for part in doubtful:
                today.leave_there(_item(context, part))
            return twin.info.run_id, False
    run, _ = put(store, training, contents)
    run_id = run.info.run_id
    new = {part: content for part, content in parts.items() if run.data.tags.get(_tag(part.name)) != content}
    metrics = _numbers(training.epochs[-1][1])
    for part in parts:
        metrics |= _numbers(read_json(part.metrics)) if part.metrics else {}
    figures = any(part.name == FIGURES and path.name == "pareto.png" for part in parts for path in part.artifacts)
    note = run_note(context.params, identity, _stages(context), metrics, figures)
    described = describe_run(store, run, note, lambda: changed(identity))
    if not new and run.info.status == "FINISHED":
        _free(store, run)
        return run_id, described
    for part in doubtful:
        today.doubt(_item(context, part))
    store.log(run_id, [*_durations(context), *_energy(context)], _kernels(context))
    for part, content in new.items():
        for split, context_name in _SPLITS.get(part.name, {}).items():
            _log_dataset(store, run_id, manifest, split, context_name)
        store.log(run_id, part.values())
        for path in part.artifacts:
            store.client.log_artifact(run_id, str(path), part.name)
        store.log(run_id, [], {_tag(part.name): content})
    _terminate(store, run, "FINISHED", training)
    return run_id, True


def _item(context: Context, part: Part) -> str:
    """Return the name of the item of DVC's graph that made a part."""
    if part.name == "reference":
        return item_of(part.name, context.experiment)
    return name_of(context, part.name if part.name in _stages(context)[1:] else "")


def _fits(today: Today, context: Context, identity: RunIdentity, part: Part) -> bool | None:
    """Tell whether a part is of today's params, by `dvc.lock`, else by what the training has noted itself.

    None where neither says. Figures are of whatever is selected, and weights of the same training.
    """
    if part.name in (FIGURES, WEIGHTS):
        return True
    if part.name in (TRAIN, FINETUNE):
        folder = context.folder(context.stage)
        known = today.fits(_item(context, part), folder if context.stage == FINETUNE else folder / HISTORY)
        return _noted(context, identity) if known is None else known
    outputs = [part.metrics] if part.metrics else []
    # Of stage `reference` a folder is one output.
    return today.fits(_item(context, part), *(path.parent if part.name == "reference" else path for path in outputs))


def _noted(context: Context, identity: RunIdentity) -> bool | None:
    """Tell by a training's live file whether it had today's params; None if that is not of the results here."""
    live = read_live(context.state("live", ".jsonl"))
    records = read_records(context.folder(context.stage) / HISTORY, "epoch")
    if live is None or not live.ended or [record for _, record in live.epochs] != records:
        return None
    same_data = live.identity.tags.get("data_hash") == identity.tags["data_hash"]
    return same_data and _decide_alike(live.identity.params, identity.params, [context.stage])


def _decide_alike(one: Mapping[str, str], other: Mapping[str, str], stages: Sequence[str]) -> bool:
    """Tell whether two runs' params are the same where they decide the results of `stages`."""
    behind = {"method" if name == "methods" else name for name in sections_behind(stages)} | {"portable"}

    def own(params: Mapping[str, str]) -> dict[str, str]:
        return {key: value for key, value in params.items() if key.split(".")[0] in behind}

    return own(one) == own(other)


def _twin(store: Store, training: Training, contents: Mapping[str, str]) -> Run | None:
    """Return the newest finished run of the same method and seed, of whatever params, that has these very results."""
    identity = training.identity
    where = f"attributes.status = 'FINISHED' and tags.method = '{identity.method}' and tags.seed = '{identity.seed}'"
    metrics = [metric for time, record in training.epochs for metric in record_metrics(record, time)]
    found = store.client.search_runs([store.experiment_id(identity.experiment)], where, order_by=["start_time DESC"])
    for run in found:
        tags = run.data.tags
        if TRAINED not in tags or any(tags.get(tag) != own for tag, own in contents.items() if tag != TRAINED):
            continue
        if tags[TRAINED] == contents[TRAINED] or not _is_other(store.points(run), metrics):
            return run
    return None


def _trained(context: Context, identity: RunIdentity) -> Training:
    """Return a training from its results, with times from its live file, else the result file's own time.

    Without a live file of it, the note of its duration says with how many threads it ran.
    """
    history = context.folder(context.stage) / HISTORY
    live, written = read_live(context.state("live", ".jsonl")), int(history.stat().st_mtime * 1000)
    if live is None or live.identity.digest != identity.digest:
        threads = dict(_notes(context)).get(context.stage, {}).get("threads", 0)
        live = Training(identity, replace(Origin.here(written), threads=threads), (), True)
    times = live.times()
    records = read_records(history, "epoch")
    return replace(live, epochs=tuple((times.get(json.dumps(record), written), record) for record in records))


def _stages(context: Context) -> tuple[str, ...]:
    """Return the stages whose results make up the run, training first."""
    return (TRAIN, "evaluate", "predict", "search") if context.stage == TRAIN else (context.stage,)


def _parts(context: Context) -> Iterator[Part]:
    """Yield the parts that there are, training first."""
    folder = context.folder(context.stage)
    yield Part(TRAIN, None, (folder / HISTORY,))
    if (folder / SUPERNET).exists():
        yield Part(WEIGHTS, None, (folder / SUPERNET,))
    metrics = context.folder("reference", f"{context.stage}/{context.instance}.json")
    if metrics.exists():
        yield Part("reference", metrics, (), _alone(context, _numbers(read_json(metrics))))
    if context.stage == FINETUNE:
        yield Part(FINETUNE, folder / METRICS, (folder / MODELS,), _finetuned(folder))
    for stage in _stages(context)[1:]:
        results = context.folder(stage)
        if (results / METRICS).exists():
            points = _points(results) if stage == PARETO.stage else ()
            yield Part(stage, results / METRICS, tuple(sorted(results.glob("*.csv"))), points)
    figures = Path("reports") / "experiments" / context.experiment
    if images := tuple(sorted(figures.glob("*.png"))):
        yield Part(FIGURES, None, images)


def _points(folder: Path) -> tuple[tuple[int, float], ...]:
    """Return (MACs, top-1 on test) of the Pareto points that stage `evaluate` has measured, in ascending order."""
    table = PARETO.read(folder)
    own = table[table.pareto.astype(bool)]
    return tuple(sorted(zip(own.macs.astype(int).tolist(), own.test_top1.astype(float).tolist(), strict=True)))


def _finetuned(folder: Path) -> tuple[tuple[int, float], ...]:
    """Return (MACs, top-1 on test) of a fine-tuned subnet, from the folder of its stage."""
    models = read_json(folder / MODELS, "the stage 'finetune'").values()
    return tuple((int(model["macs"]), float(model["test_top1"])) for model in models)


def _alone(context: Context, metrics: Mapping[str, float]) -> tuple[tuple[int, float], ...]:
    """Return (MACs, top-1 on test) of what was trained alone: the full model, or an arch."""
    manifest = read_manifest(context.data_folder())
    space = context.section(SearchSpace, "space")
    arch = space.named(context.arch, STANDALONE) if context.arch else space.largest()
    macs = arch_cost(space, arch, len(manifest["classes"]), manifest["channels"]).macs
    return tuple((macs, top1) for key, top1 in metrics.items() if key.endswith("_top1"))


def _tag(part: str) -> str:
    return f"deps.part.{part}"


def _numbers(data: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in data.items() if isinstance(value, int | float)}


def _durations(context: Context) -> list[Metric]:
    """Return how many seconds each stage of the run took."""
    return [
        Metric(f"time/{stage}_seconds", float(note["seconds"]), int(note["started"] * 1000), 0)
        for stage, note in _notes(context)
    ]


def _energy(context: Context) -> Iterator[Metric]:
    """Yield how much energy each stage of the run took, in kJ by kind, where its machine told."""
    for stage, note in _notes(context):
        joules = note.get("joules")
        for kind, value in joules.items() if isinstance(joules, dict) else ():
            if isinstance(value, int | float) and math.isfinite(value):
                yield Metric(f"energy/{stage}_{kind}_kilojoules", value / 1000, int(note["started"] * 1000), 0)


def _kernels(context: Context) -> dict[str, str]:
    """Return a tag with the variables that chose kernels, by stage, if any did: last bits depend on them."""
    chosen = {stage: note.get("kernels") or {} for stage, note in _notes(context)}
    texts = [f"{stage}: {' '.join(f'{k}={v}' for k, v in found.items())}" for stage, found in chosen.items() if found]
    return {"kernels": "; ".join(texts)} if texts else {}


def _notes(context: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what the process of each stage of the run has noted as it ended."""
    for stage in _stages(context):
        path = replace(context, stage=stage).state("timing", ".json")
        if path.exists():
            yield stage, read_numbers(path, "seconds", "started", alone=False)


def _log_dataset(store: Store, run_id: str, manifest: dict[str, Any], split: str, purpose: str) -> None:
    source = json.dumps({"source": manifest["source"]})
    schema = json.dumps({"classes": len(manifest["classes"]), "size": manifest["size"]})
    profile = json.dumps({"images": manifest["images"][split], "mean": manifest["mean"], "std": manifest["std"]})
    dataset = Dataset(manifest["name"], manifest["sha256"][split][:SHORT], "local", source, schema, profile)
    store.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag(DATA_TAG, purpose)])])
