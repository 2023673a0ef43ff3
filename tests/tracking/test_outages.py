"""What a failing tracking server costs, and that nothing is lost: a real server behind a proxy that fails at will."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from dεps.cli.main import main as deps
from dεps.tracking import place, sync
from dεps.tracking.store import Store
from dεps.workspace import address
from pipelines import track as stage
from tests.tracking.faults import ANSWERS, PASSWORD, Proxy, Workspace, mlflow_server

pytestmark = pytest.mark.slow

#: differ from run to run
#: a note names its experiment and run
OWN = {"experiment", "deps.identity", "deps.work", "git_commit", "deps.part.note", "mlflow.note.content"}


FAULTS = ["dead", "hang", "500", "403", "full"]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[int]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as port:
        yield port


@pytest.fixture(scope="module")
def proxy(server) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.switch("dead")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path_factory.mktemp("work"), data.folder)
    yield workspace
    workspace.close()


@pytest.fixture
def workspace(folder, proxy, monkeypatch) -> Iterator[Workspace]:
    monkeypatch.chdir(folder.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    for name in ("DVC_ROOT", "DEPS_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    yield folder
    proxy.switch("forward")


@pytest.fixture(scope="module")
def trainings(folder, server) -> Iterator[Callable[[str], tuple[subprocess.Popen, Proxy, dict]]]:
    """Gives the training of an experiment in FAULTS, its proxy and params; the next one is being started meanwhile."""
    names = ["undisturbed", *FAULTS]
    started = {}

    def start(name: str) -> None:
        if name not in started:
            own = Proxy(server)
            params = folder.add(name)
            started[name] = folder.train(name, own.uri), own, params

    def give(name: str) -> tuple[subprocess.Popen, Proxy, dict]:
        for near in names[names.index(name) :][:2]:
            start(near)
        return started[name]

    yield give
    for _, own, _ in started.values():
        own.switch("dead")


@pytest.fixture(scope="module")
def undisturbed(folder, trainings) -> dict:
    """What the store holds of a training while which nothing happened."""
    process, own, params = trainings("undisturbed")
    wait_for_first_record(own, "undisturbed")
    folder.go("undisturbed")
    waited, _ = finish(process, warnings=0)
    print(f"\nundisturbed: waited {waited} s for MLflow")
    with chdir(folder.folder):
        assert sync.track(params, own.uri)
    (run,) = content(own, "undisturbed")
    assert [step for step, _ in run["metrics"]["val/largest_top1"]] == [1, 2, 3]
    assert {"supernet/supernet.safetensors", "train/history.jsonl"} <= set(run["artifacts"])
    return run


def finish(process: subprocess.Popen, warnings: int) -> tuple[float, str]:
    """Seconds that a training waited for MLflow, and its warning."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert PASSWORD not in out + err
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if not line.startswith("train ")]  # beside progress
    assert [line.startswith("warning: MLflow") for line in said] == [True] * warnings, err
    (line,) = [line for line in out.splitlines() if line.startswith("waited")]
    return float(line.split()[1]), "".join(said)


def runs(proxy, experiment):
    client = MlflowClient(f"http://127.0.0.1:{proxy.upstream}")
    found = client.get_experiment_by_name(experiment)
    return client, (client.search_runs([found.experiment_id]) if found else [])


def content(proxy, experiment) -> list[dict]:
    """All runs of an experiment, without what differs between two trainings of the same."""
    client, found = runs(proxy, experiment)
    return [
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "ended": run.info.end_time >= run.info.start_time,
            "params": run.data.params,
            "tags": {key: text for key, text in run.data.tags.items() if key not in OWN},
            "metrics": {
                key: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, key))
                for key in run.data.metrics
                if not key.startswith("time/")
            },
            "times": {
                key: len(client.get_metric_history(run.info.run_id, key)) for key in run.data.metrics if "time/" in key
            },
            "artifacts": list(files(client, run.info.run_id)),
            "inputs": [(i.dataset.name, i.dataset.digest, i.dataset.profile) for i in run.inputs.dataset_inputs],
        }
        for run in found
    ]


def files(client, run_id, folder=None):
    for file in client.list_artifacts(run_id, folder):
        yield from files(client, run_id, file.path) if file.is_dir else [file.path]


def wait_for_first_record(proxy, experiment):
    for _ in range(600):
        _, found = runs(proxy, experiment)
        if found and "train/loss_full" in found[0].data.metrics:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("no record in the store")


def track_twice(params, capsys, uri=None):
    capsys.readouterr()
    assert sync.track(params, uri)
    assert "1 runs in http://***@127.0.0.1" in capsys.readouterr().out
    assert sync.track(params, uri)
    captured = capsys.readouterr()
    assert ", 0 new or changed" in captured.out
    assert PASSWORD not in captured.out + captured.err


@pytest.mark.parametrize("fault", FAULTS)
def test_a_training_outlives_the_server(workspace, trainings, undisturbed, fault, capsys):
    process, own, params = trainings(fault)
    first = wait_for_first_record(own, fault)
    own.switch(fault)
    workspace.go(fault)
    waited, warning = finish(process, warnings=1)
    assert "'deps track' completes its store" in warning
    with capsys.disabled():
        print(f"\n{fault}: waited {waited} s for MLflow; {warning}")
    # The one call that fails, tried twice, is the last: what a run can lose is this and no more.
    assert len(own.seen) <= 2
    own.switch("forward")
    track_twice(params, capsys, own.uri)
    assert content(own, fault) == [undisturbed]
    assert runs(own, fault)[1][0].info.run_id == first.info.run_id
    assert not any(PASSWORD in path.read_text() for path in Path(".state").rglob("*.json*"))


def test_what_a_run_can_lose_is_bounded():
    tries = 1 + int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert tries * int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) < address.patience("http://localhost") < 10


def results(workspace, name) -> dict:
    """Params of an experiment with the undisturbed training's results, which nobody has tracked."""
    params = workspace.add(name)
    for folder in ("runs", ".state/timing"):
        shutil.copytree(f"{folder}/undisturbed", f"{folder}/{name}", dirs_exist_ok=True)
    return params


KINDS = {
    "find": "GET /api/2.0/mlflow/experiments/get-by-name",
    "create": "POST /api/2.0/mlflow/runs/create",
    "params": "POST /api/2.0/mlflow/runs/log-batch",
    "inputs": "POST /api/2.0/mlflow/runs/log-inputs",
    "artifact": "PUT /api/2.0/mlflow-artifacts/",
    "end": "POST /api/2.0/mlflow/runs/update",
}


@pytest.mark.parametrize(
    ("fault", "kind"), [*(("500", kind) for kind in KINDS), ("hang", "params"), ("hang", "artifact")]
)
def test_tracking_gives_up_after_the_first_failure_of_any_call(
    workspace, proxy, undisturbed, fault, kind, capsys, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    params = results(workspace, f"{kind}-{fault}")
    proxy.switch_at(KINDS[kind], fault)
    stage.main()
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: MLflow was not brought up to date (")
    assert len(captured.err.splitlines()) == 1
    assert PASSWORD not in captured.out + captured.err
    assert len(proxy.seen) == 2
    proxy.switch("forward")
    track_twice(params, capsys)
    (run,) = content(proxy, f"{kind}-{fault}")
    assert {**run, "tags": None} == {**undisturbed, "tags": None}
    assert run["tags"] == {key: text for key, text in undisturbed["tags"].items() if key != place.HOST_TAG}


@pytest.mark.parametrize("fault", ["dead", "hang", "drip", *ANSWERS])
def test_the_stage_warns_and_the_command_fails(workspace, proxy, undisturbed, fault, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(sync, "patience", lambda uri: 2.5)
    results(workspace, "given-up")
    proxy.switch(fault)
    stage.main()
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("warning: MLflow was not brought up to date (")
    done = CliRunner().invoke(deps, ["track"])
    assert done.exit_code == 1
    assert done.output.startswith("warning: MLflow was not brought up to date (")
    assert len(done.output.splitlines()) == 1
    assert PASSWORD not in captured.err + captured.out + done.output
    assert len(set(proxy.seen)) == 1  # the first call, which is tried again until patience ends


def test_a_killed_training_is_marked_and_taken_up_again(workspace, proxy, undisturbed, capsys):
    params = workspace.add("killed")
    process = workspace.train("killed", proxy.uri)
    first = wait_for_first_record(proxy, "killed")
    assert sync.track(params)
    assert status(proxy, "killed") == "RUNNING"  # as it does
    (follower,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(follower), signal.SIGKILL)
    process.kill()
    process.communicate()
    assert status(proxy, "killed") == "RUNNING"
    store = Store()
    for tag, text in {place.HOST_TAG: "elsewhere", place.WORK_TAG: "elsewhere/killed/train/deps-0"}.items():
        store.log(first.info.run_id, [], {tag: text})
        assert sync.sync(params, store) == (0, 0)
        store.log(first.info.run_id, [], {tag: first.data.tags[tag]})
    assert sync.sync(params, store) == (0, 1)
    assert status(proxy, "killed") == "KILLED"
    assert sync.sync(params, store) == (0, 0)
    workspace.go("killed")
    finish(workspace.train("killed", proxy.uri), warnings=0)
    (run,) = runs(proxy, "killed")[1]
    assert (run.info.run_id, run.info.status) == (first.info.run_id, "FINISHED")
    track_twice(params, capsys)
    assert content(proxy, "killed") == [undisturbed]


def status(proxy, experiment):
    (run,) = runs(proxy, experiment)[1]
    return run.info.status
