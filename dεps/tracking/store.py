"""Access to the MLflow store: finds runs by their identity, and survives stores that fall silent."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from dεps.core.console import say
from dεps.data.manifest import read_manifest
from dεps.tracking.address import local_uri, patience, root, tracking_uri
from dεps.tracking.changes import EXPERIMENT_TAG
from dεps.tracking.moved import ARTIFACTS, mend
from dεps.tracking.private import SOURCE_TAG
from dεps.workspace.identity import RunIdentity, run_identity
from dεps.workspace.live import Origin
from dεps.workspace.locks import attempt, locked
from dεps.workspace.stage import STATE, Context

IDENTITY_TAG = "deps.identity"
#: before the names of what the machine does, where MLflow has a page for it
SYSTEM = "system"
#: exceptions of a store that cannot be used
FAILURES = (MlflowException, OSError, SQLAlchemyError)
T = TypeVar("T")
BATCH = 900  # MLflow takes at most 1,000 metrics per call
SLOWEST = 2**20  # bytes per second that an upload must reach
LARGEST = 1.7976931348623157e308  # what MLflow stores for infinity

#: by (key, step)
Points = dict[tuple[str, int], float]


class Watch:
    """The time by which the store must answer the current call, which may take `seconds`; infinity between calls."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.deadline = seconds, math.inf
        self.given_up = False

    @contextmanager
    def call(self, size: int = 0) -> Iterator[None]:
        """Time a call that uploads `size` bytes. Raises `TimeoutError` if nobody waits for the store any more."""
        if self.given_up:
            raise TimeoutError("given up")
        self.deadline = time.monotonic() + self.seconds + size / SLOWEST
        try:
            yield
        finally:
            self.deadline = math.inf


class _Client:
    """`MlflowClient` with a `Watch`; an answer that is not MLflow's raises `MlflowException` too."""

    def __init__(self, client: MlflowClient, watch: Watch) -> None:
        self._client, self._watch = client, watch

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            paths = [Path(args[1])] if name in ("log_artifact", "log_model_artifacts") else []
            files = (file for path in paths for file in (path, *path.rglob("*")) if file.is_file())
            size = sum(file.stat().st_size for file in files)
            try:
                with self._watch.call(size):
                    return method(*args, **options)
            except (ValueError, ParseError) as error:
                raise MlflowException(f"the answer is not one of MLflow: {error}") from error

        return call


def _reach(uri: str) -> None:
    """Raise `SQLAlchemyError` at once if a database cannot be reached; MLflow would try for minutes."""
    if uri.startswith(("postgresql", "mysql", "mssql")):
        try:
            with create_engine(uri, poolclass=NullPool).connect():
                pass
        except ImportError as error:
            raise OSError(f"the database's driver is not installed: {error}") from None


class Store:
    """Runs of this project in one MLflow store."""

    def __init__(self, uri: str | None = None, watch: Watch | None = None) -> None:
        for name in ("mlflow", "urllib3"):  # their warnings repeat what exceptions say
            logging.getLogger(name).setLevel(logging.ERROR)
        self.uri = uri or tracking_uri()
        self.watch = watch = watch or Watch(math.inf)
        if self.uri.startswith("sqlite:"):
            # Processes that initialise an empty database at the same time corrupt it.
            with locked(root() / STATE / "mlflow.lock"):
                self.client = _Client(MlflowClient(self.uri), watch)
                self.client.search_experiments(max_results=1)
                if self.uri == local_uri() and (mended := mend(root())):
                    say(f"MLflow: this folder was another; {mended} addresses of artifacts mended")
        else:
            with watch.call():
                _reach(self.uri)
                self.client = _Client(MlflowClient(self.uri), watch)

    def experiment_id(self, name: str) -> str:
        """Return the id of the MLflow experiment of that name, which is created if absent."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            local = self.uri.startswith("sqlite:")
            location = (root() / ARTIFACTS / name).as_uri() if local else None
            try:
                return self.client.create_experiment(name, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)  # another process was faster
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def drop_default(self) -> None:
        """Delete the experiment that MLflow creates with a database, if it is empty and the database this project's."""
        found = self.client.get_experiment_by_name("Default") if self.uri == local_uri() else None
        if found and found.lifecycle_stage == "active" and not self.client.search_runs([found.experiment_id]):
            self.client.delete_experiment(found.experiment_id)

    def find(self, identity: RunIdentity, unless: Callable[[Run], bool] = lambda run: False) -> Run | None:
        """Return the newest run of this identity for which `unless` is false."""
        runs = self.client.search_runs(
            [self.experiment_id(identity.experiment)],
            f"tags.`{IDENTITY_TAG}` = '{identity.digest}'",
            ViewType.ACTIVE_ONLY,
            order_by=["attributes.start_time DESC"],
        )
        return next((run for run in runs if not unless(run)), None)

    def run_of(self, context: Context) -> Run | None:
        """Return the newest run of the training that `context` names."""
        manifest = read_manifest(context.data_folder())
        return self.find(run_identity(context.params, context.experiment, context.training, context.the_seed, manifest))

    def create(self, identity: RunIdentity, origin: Origin, tags: Mapping[str, str] | None = None) -> Run:
        """Create a run with its parameters and tags."""
        own = {**identity.tags, **(tags or {}), "git_commit": origin.git_commit, IDENTITY_TAG: identity.digest}
        own |= {SOURCE_TAG: "dεps"} | ({EXPERIMENT_TAG: origin.dvc_experiment} if origin.dvc_experiment else {})
        own |= {"threads": str(origin.threads)} if origin.threads else {}
        run = self.client.create_run(self.experiment_id(identity.experiment), origin.started, own, identity.name)
        self.complete(run, identity)
        return run

    def complete(self, run: Run, identity: RunIdentity) -> None:
        """Log parameters that the run lacks, because the store failed after it was created."""
        params = [Param(key, value) for key, value in identity.params.items() if key not in run.data.params]
        for start in range(0, len(params), 100):
            self.client.log_batch(run.info.run_id, params=params[start : start + 100])

    def points(self, run: Run) -> Points:
        """Return all metrics of the run but those of its machine."""
        keys = [key for key in run.data.metrics if not key.startswith(f"{SYSTEM}/")]
        histories = (self.client.get_metric_history(run.info.run_id, key) for key in keys)
        return {(point.key, point.step): point.value for history in histories for point in history}

    def machine(self, run: Run) -> list[Metric]:
        """Return the metrics of the run's machine."""
        keys = [key for key in run.data.metrics if key.startswith(f"{SYSTEM}/")]
        histories = (self.client.get_metric_history(run.info.run_id, key) for key in keys)
        return [Metric(one.key, one.value, one.timestamp, one.step) for history in histories for one in history]

    def log(self, run_id: str, metrics: list[Metric], tags: dict[str, str] | None = None) -> None:
        """Log metrics in batches, then tags."""
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        if tags:
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


class BusyError(TimeoutError):
    """Another process of this working copy is writing to the store."""


class Session:
    """Work with a store that may fall silent, in a thread that is abandoned then; name look-ups escape all timeouts.

    Processes of one working copy take turns, so that no two create the same run.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.store: Store | None = None

    def do(self, work: Callable[[Store], T], turn: float) -> T:
        """Return what `work` returns; wait at most `turn` seconds for other processes.

        Raises one of `FAILURES` if the store cannot be used, falls silent, or is not free in time.
        """
        with attempt(root() / STATE / "mlflow-turn.lock", turn) as free:
            if not free:
                raise BusyError("another process is writing to it")
            return self._watched(work)

    def _watched(self, work: Callable[[Store], T]) -> T:
        store, outcome = self.store, list[tuple[Store, T] | Exception]()
        watch = store.watch if store else Watch(patience(self.uri))

        def run() -> None:
            try:
                used = store or Store(self.uri, watch)
                outcome.append((used, work(used)))
            except Exception as error:
                outcome.append(error)

        thread = Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive() and time.monotonic() < watch.deadline:
            thread.join(0.1)
        done = outcome[0] if outcome else TimeoutError(f"no answer in {watch.seconds:.0f} s")
        if isinstance(done, Exception):
            watch.given_up, self.store = True, None
            raise done
        self.store = done[0]
        return done[1]


def record_metrics(record: dict[str, Any], time: int) -> list[Metric]:
    """Return one epoch's record as metrics, with the epoch as step."""
    values = {key: value for key, value in record.items() if isinstance(value, int | float) and "/" in key}
    return [Metric(key, float(value), time, int(record["epoch"])) for key, value in values.items()]


def contradict(points: Points, metrics: Iterable[Metric]) -> bool:
    """Tell whether a metric has another value among the points, which other code must have made."""

    def stored(value: float) -> float | str:
        return "nan" if math.isnan(value) else max(-LARGEST, min(LARGEST, value))

    return any(stored(one.value) != stored(points.get((one.key, one.step), one.value)) for one in metrics)
