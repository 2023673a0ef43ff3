"""The MLflow store: where it is, and runs found by identity.

Only `MlflowClient` with explicit run ids is used; nothing depends on an active run of a thread or process.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

# Before mlflow is imported: a server that does not answer must cost seconds, not minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
warnings.filterwarnings("ignore", category=UserWarning, module="mlflow")

from filelock import FileLock  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, Run, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from dεps.identity import RunIdentity  # noqa: E402

IDENTITY_TAG = "deps.identity"
BATCH = 900  # MLflow takes at most 1,000 metrics a call


def root() -> Path:
    """The main workspace: DVC's experiment queue runs stages in copies and names the original in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or else an sqlite file in the main workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


class Store:
    """Runs of this project in one MLflow store."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()
        if self.uri.startswith("sqlite:"):
            # Several processes that meet an empty database at once break it for good.
            state = root() / ".state"
            state.mkdir(exist_ok=True)
            with FileLock(state / "mlflow.lock"):
                self.client = MlflowClient(self.uri)
                self.client.search_experiments(max_results=1)
        else:
            self.client = MlflowClient(self.uri)

    def experiment_id(self, name: str) -> str:
        """The MLflow experiment of that name, made where absent."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            local = self.uri.startswith("sqlite:")
            location = (root() / "mlartifacts" / name).as_uri() if local else None
            try:
                return self.client.create_experiment(name, artifact_location=location)
            except MlflowException:  # another process was faster
                found = self.client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def find(self, identity: RunIdentity) -> Run | None:
        """The run of this identity, newest first."""
        runs = self.client.search_runs(
            [self.experiment_id(identity.experiment)],
            f"tags.`{IDENTITY_TAG}` = '{identity.digest}'",
            ViewType.ACTIVE_ONLY,
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return runs[0] if runs else None

    def create(self, identity: RunIdentity, commit: str, start_time: int | None = None) -> Run:
        """A new run with its parameters and tags."""
        tags = {**identity.tags, "git_commit": commit, IDENTITY_TAG: identity.digest, "mlflow.source.name": "dεps"}
        run = self.client.create_run(
            self.experiment_id(identity.experiment), start_time=start_time, tags=tags, run_name=identity.name
        )
        params = [Param(key, value) for key, value in identity.params.items()]
        for start in range(0, len(params), 100):
            self.client.log_batch(run.info.run_id, params=params[start : start + 100])
        return run

    def log(self, run_id: str, metrics: list[Metric], tags: dict[str, str] | None = None) -> None:
        """Metrics in batches, then tags."""
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        if tags:
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def record_metrics(record: dict[str, Any], time: int) -> list[Metric]:
    """One epoch's record as metrics; the epoch is the step."""
    values = {key: value for key, value in record.items() if isinstance(value, int | float) and "/" in key}
    return [Metric(key, float(value), time, int(record["epoch"])) for key, value in values.items()]
