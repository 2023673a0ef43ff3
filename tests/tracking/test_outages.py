"""What a failing tracking server costs, and that nothing is lost: a real server behind a proxy that fails at will."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from dεps.cli.main import main as deps
from dεps.tracking import address, place, sync
from dεps.tracking import store as store_module
from dεps.tracking.store import Store
from dεps.workspace.locks import exclusive
from pipelines import track as stage
from tests.tracking.faults import ANSWERS, PASSWORD, Proxy, Workspace, mlflow_server

pytestmark = pytest.mark.slow

#: differ from run to run
#: a note names its experiment and run; threads are known of what left its live file, which results alone have not
OWN = {"experiment", "deps.identity", "git_commit", "deps.part.note", "mlflow.note.content", "threads"}


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
    monkeypatch.delenv("DVC_ROOT", raising=False)
    yield folder
    proxy.switch("forward")


@pytest.fixture(scope="module")
def undisturbed(folder, proxy) -> dict:
    """What the store holds of a training while which nothing happened, and which nobody followed."""
    params = folder.add("undisturbed")
    folder.go("undisturbed")
    proxy.switch("forward")
    finish(folder.train("undisturbed", proxy.uri))
    assert proxy.seen == []
    with chdir(folder.folder):
        assert sync.track(params, proxy.uri)
    (run,) = content(proxy, "undisturbed")
    assert [step for step, _ in run["metrics"]["val/largest_top1"]] == [1, 2, 3]
    assert {"supernet/supernet.safetensors", "train/history.jsonl"} <= set(run["artifacts"])
    return run


def finish(process: subprocess.Popen) -> None:
    """Wait for a training that has no trouble, and knows of no tracking."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert out.splitlines()[-1] == "tracking: []"
    assert [line for line in err.splitlines() if not line.startswith("train ")] == []  # beside progress


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
    found = []

    def there() -> bool:
        found[:] = runs(proxy, experiment)[1]
        return bool(found) and "train/loss_full" in found[0].data.metrics

    until(there)
    return found[0]


def until(true: Callable[[], object], seconds: float = 180) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def track_twice(params, capsys, uri=None):
    capsys.readouterr()
    assert sync.track(params, uri)
    assert "1 runs in http://***@127.0.0.1" in capsys.readouterr().out
    assert sync.track(params, uri)
    captured = capsys.readouterr()
    assert ", 0 new or changed" in captured.out
    assert PASSWORD not in captured.out + captured.err


@pytest.fixture
def follower(folder, proxy, undisturbed) -> Iterator[Callable[[], str]]:
    """A process that follows all trainings; gives what it has said since it was last asked."""
    with folder.follow(proxy.uri) as (process, path):
        asked = [0]

        def said() -> str:
            assert process.poll() is None, path.read_text()
            text = path.read_text()[asked[0] :]
            asked[0] += len(text)
            return text

        yield said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_training_outlives_the_server(workspace, proxy, follower, undisturbed, fault, capsys):
    params = workspace.add(fault)
    process = workspace.train(fault, proxy.uri)
    first = wait_for_first_record(proxy, fault)
    assert first.info.status == "RUNNING"
    assert follower() == ""
    proxy.switch(fault)
    workspace.go(fault)
    lines = []
    until(lambda: lines.extend(follower().splitlines()) or lines)
    assert len(proxy.seen) <= 2  # a call that fails is tried twice, and is the last
    finish(process)
    proxy.switch("forward")
    until(lambda: status(proxy, fault) == "FINISHED")  # the follower has tried again
    lines += follower().splitlines()
    (warning,) = lines
    assert warning.startswith("warning: MLflow is not followed (")
    assert warning.endswith("); 'deps track' completes its store")
    assert PASSWORD not in warning
    with capsys.disabled():
        print(f"\n{fault}: {warning}")
    (run,) = runs(proxy, fault)[1]
    assert (run.info.run_id, run.data.metrics["cost/train_tmacs"]) == (
        first.info.run_id,
        undisturbed["metrics"]["cost/train_tmacs"][-1][1],
    )
    track_twice(params, capsys)
    assert content(proxy, fault) == [undisturbed]
    assert runs(proxy, fault)[1][0].info.run_id == first.info.run_id
    assert not any(PASSWORD in path.read_text() for path in Path(".state").rglob("*.json*"))


def test_a_store_that_is_written_to_keeps_a_follower_waiting_and_nobody_else(workspace, proxy, follower, undisturbed):
    with exclusive(Path(".state/mlflow-turn.lock"), "writes"):
        workspace.add("turns")
        process = workspace.train("turns", proxy.uri)
        workspace.go("turns")
        finish(process)
        assert runs(proxy, "turns")[1] == []
        assert follower() == ""


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
    assert run == undisturbed


@pytest.mark.parametrize("fault", ["dead", "hang", "drip", *ANSWERS])
def test_the_stage_warns_and_the_command_fails(workspace, proxy, undisturbed, fault, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(store_module, "patience", lambda uri: 2.5)
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


def test_a_killed_training_is_marked_and_taken_up_again(workspace, proxy, follower, undisturbed, capsys):
    params = workspace.add("killed")
    process = workspace.train("killed", proxy.uri)
    first = wait_for_first_record(proxy, "killed")
    assert sync.track(params)
    assert status(proxy, "killed") == "RUNNING"  # as it does
    process.kill()
    process.communicate()
    until(lambda: status(proxy, "killed") == "KILLED")
    workspace.go("killed")
    finish(workspace.train("killed", proxy.uri))
    until(lambda: status(proxy, "killed") == "FINISHED")
    (run,) = runs(proxy, "killed")[1]
    assert run.info.run_id == first.info.run_id
    track_twice(params, capsys)
    assert content(proxy, "killed") == [undisturbed]
    assert follower() == ""


def test_what_a_killed_follower_leaves_is_mended(workspace, proxy, undisturbed, capsys):
    """The store has the training as running, and nobody is there to say otherwise but `deps track`."""
    params = workspace.add("alone")
    with workspace.follow(proxy.uri):
        process = workspace.train("alone", proxy.uri)
        first = wait_for_first_record(proxy, "alone")
    process.kill()
    process.communicate()
    assert status(proxy, "alone") == "RUNNING"
    store = Store()
    for tag, text in {place.HOST_TAG: "elsewhere", place.WORK_TAG: "elsewhere/alone/train/deps-0"}.items():
        store.log(first.info.run_id, [], {tag: text})
        assert sync.sync(params, store) == (0, 0)
        store.log(first.info.run_id, [], {tag: first.data.tags[tag]})
    assert sync.sync(params, store) == (0, 1)
    assert status(proxy, "alone") == "KILLED"
    assert sync.sync(params, store) == (0, 0)


def status(proxy, experiment):
    (run,) = runs(proxy, experiment)[1]
    return run.info.status
