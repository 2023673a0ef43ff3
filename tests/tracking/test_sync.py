import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from dεps.core.files import write_json
from dεps.tracking.store import Store
from dεps.tracking.sync import sync, track
from dεps.workspace.identity import run_identity
from dεps.workspace.live import LiveRun, read_live
from tests.conftest import ROOT, default_params, made_up_manifest

RECORDS = [
    {
        "epoch": n,
        "step": n,
        "phase": "full model",
        "train/loss_full": 1 / n,
        "val/largest_top1": 50.0 + n,
        "cost/train_tmacs": n,
    }
    for n in (1, 2, 3)
]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Result files of one run of DεpS and its trunk, as the stages write them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    params = default_params() | {"methods": ["deps"], "seeds": [0]}
    write_json(Path("runs/quick/prepare/manifest.json"), made_up_manifest())
    for folder in ("full_model/0", "train/deps-0"):
        path = Path("runs/quick", folder)
        path.mkdir(parents=True)
        (path / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
        (path / "supernet.safetensors").write_bytes(b"weights")
    write_json(
        Path("runs/quick/evaluate/deps-0/metrics.json"), {"pareto/mean_top1": 80.5, "pareto/smallest_top1": 78.0}
    )
    Path("runs/quick/evaluate/deps-0/pareto.csv").write_text("name,macs\n")
    Path("reports/experiments/quick").mkdir(parents=True)
    Path("reports/experiments/quick/pareto.png").write_bytes(b"png")
    return params


def runs(store, view=ViewType.ACTIVE_ONLY):
    found = store.client.search_runs([store.experiment_id("quick")], run_view_type=view)
    return {run.info.run_name: run for run in found}


def test_the_store_is_rebuilt_from_files(workspace):
    store = Store()
    assert sync(workspace, store) == (2, 2)
    run = runs(store)["deps-0"]
    assert run.data.metrics["pareto/mean_top1"] == 80.5
    assert run.data.metrics["cost/train_tmacs"] == 3
    assert run.data.params["method.shrink_start"] == "0.5"
    assert {run.data.tags[key] for key in ("method", "dataset", "space", "seed")} == {"deps", "m", "mbv3_micro", "0"}
    assert run.data.tags["git_commit"]
    assert run.info.status == "FINISHED"
    curve = store.client.get_metric_history(run.info.run_id, "val/largest_top1")
    assert [(point.step, point.value) for point in curve] == [(1, 51.0), (2, 52.0), (3, 53.0)]
    artifacts = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert artifacts == {"supernet", "train", "evaluate", "figures", "params"}
    assert run.inputs.dataset_inputs[0].dataset.name == "m"


def test_what_was_trained_alone_has_runs_of_its_own(workspace):
    alone = Path("runs/quick/standalone/smallest-0")
    shutil.copytree("runs/quick/full_model/0", alone)
    write_json(Path("runs/quick/reference/standalone/smallest-0.json"), {"pareto/smallest_top1": 79.0})
    write_json(Path("runs/quick/reference/full_model/0.json"), {"pareto/largest_top1": 84.0})
    write_json(Path(".state/timing/quick/standalone/smallest-0.json"), {"seconds": 7.5, "started": 1.0})
    store = Store()
    assert sync(workspace, store) == (3, 3)
    assert sync(workspace, store) == (3, 0)
    found = runs(store)
    assert set(found) == {"deps-0", "full_model-0", "standalone-smallest-0"}
    run = found["standalone-smallest-0"]
    assert (run.data.metrics["pareto/smallest_top1"], run.data.metrics["cost/train_tmacs"]) == (79.0, 3)
    assert run.data.metrics["time/standalone_seconds"] == 7.5
    assert (run.data.tags["method"], run.data.params["method.arch"]) == ("standalone-smallest", "smallest")
    assert found["full_model-0"].data.metrics["pareto/largest_top1"] == 84.0


def test_once_more_changes_nothing(workspace):
    store = Store()
    sync(workspace, store)
    before = {name: run.to_dictionary() for name, run in runs(store).items()}
    assert sync(workspace, store) == (2, 0)
    assert {name: run.to_dictionary() for name, run in runs(store).items()} == before
    history = store.client.get_metric_history(runs(store)["deps-0"].info.run_id, "train/loss_full")
    assert len(history) == 3


def test_later_stages_extend_the_same_run(workspace):
    store = Store()
    sync(workspace, store)
    write_json(Path("runs/quick/predict/deps-0/metrics.json"), {"predictor/kendall_tau": 0.7})
    assert sync(workspace, store) == (2, 1)
    assert len(runs(store)) == 2
    assert runs(store)["deps-0"].data.metrics["predictor/kendall_tau"] == 0.7


def test_other_results_of_the_same_parameters_replace_the_run(workspace):
    store = Store()
    sync(workspace, store)
    path = Path("runs/quick/train/deps-0/history.jsonl")
    path.write_text(path.read_text().replace('"cost/train_tmacs": 3', '"cost/train_tmacs": 4'))
    assert sync(workspace, store) == (2, 1)
    assert len(runs(store)) == 2
    assert runs(store)["deps-0"].data.metrics["cost/train_tmacs"] == 4
    assert len(store.client.search_runs([store.experiment_id("quick")], run_view_type=ViewType.DELETED_ONLY)) == 1


def test_other_parameters_are_another_run(workspace):
    store = Store()
    sync(workspace, store)
    workspace["experiments"]["quick"]["search"]["generations"] = 7
    sync(workspace, store)
    assert len(store.client.search_runs([store.experiment_id("quick")])) == 4


@pytest.mark.parametrize("uri", ["http://me:geheim@127.0.0.1:9", "postgresql://me:geheim@127.0.0.1:9/db"])
def test_an_unusable_store_is_a_warning(workspace, capsys, uri):
    assert track(workspace, uri) is False
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: MLflow was not brought up to date")
    assert "geheim" not in captured.out + captured.err


def follow(path: Path, uri: str, parent: int | None = None) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dεps.tracking.follow", str(path), str(parent or os.getpid())]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_followed_records_are_completed_without_duplicates(workspace):
    manifest = json.loads(Path("runs/quick/prepare/manifest.json").read_text())
    identity = run_identity(workspace, "quick", "deps", 0, manifest)
    live = LiveRun(Path(".state/live/quick/train/deps-0.jsonl"), identity, follow=False)
    live.start([])
    live.log(RECORDS[0])
    live.log(RECORDS[1])
    live.finish()
    uri = f"sqlite:///{Path('mlflow.db').resolve()}"
    assert follow(live.path, uri).returncode == 0
    store = Store(uri)
    (run,) = runs(store).values()
    assert run.data.metrics["val/largest_top1"] == 52.0
    sync(workspace, store)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id
    curve = store.client.get_metric_history(run.info.run_id, "val/largest_top1")
    curve = sorted(curve, key=lambda point: point.step)
    assert [point.value for point in curve] == [51.0, 52.0, 53.0]
    _header, entries, ended = read_live(live.path)
    assert ended
    assert [point.timestamp for point in curve[:2]] == [entry["time"] for entry in entries]


def test_a_follower_without_a_store_only_warns(workspace):
    manifest = json.loads(Path("runs/quick/prepare/manifest.json").read_text())
    live = LiveRun(Path("live.jsonl"), run_identity(workspace, "quick", "deps", 0, manifest), follow=False)
    live.start([])
    live.finish()
    done = follow(live.path, "http://127.0.0.1:9")
    assert done.returncode == 0
    assert "warning: MLflow is not followed" in done.stderr
    assert "Traceback" not in done.stderr


def followed(workspace, *records, ended=True):
    """A store in which a follower has logged these records, the live file, and the run."""
    manifest = json.loads(Path("runs/quick/prepare/manifest.json").read_text())
    path = Path(".state/live/quick/train/deps-0.jsonl")
    live = LiveRun(path, run_identity(workspace, "quick", "deps", 0, manifest), follow=False)
    live.start([])
    for record in records:
        live.log(record)
    if ended:
        live.finish()
    uri = f"sqlite:///{Path('mlflow.db').resolve()}"
    parent = os.getpid() if ended else 1  # of which the follower is no child, so that it takes it for dead
    done = follow(path, uri, parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    store = Store(uri)
    return store, runs(store)["deps-0"]


def curve(store, run, key="val/largest_top1"):
    return sorted((point.step, point.value) for point in store.client.get_metric_history(run.info.run_id, key))


def test_points_are_not_repeated_at_other_times(workspace):
    store, run = followed(workspace, *RECORDS[:2])
    shutil.rmtree(".state/live")
    sync(workspace, store)
    (found,) = [found for name, found in runs(store).items() if name == "deps-0"]
    assert found.info.run_id == run.info.run_id
    assert curve(store, found) == [(1, 51.0), (2, 52.0), (3, 53.0)]


def test_a_run_of_a_killed_training_is_taken_up(workspace):
    store, run = followed(workspace, *RECORDS[:2], ended=False)
    assert run.info.status == "KILLED"
    _, again = followed(workspace, *RECORDS)  # from the start, at other times
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert curve(store, again) == [(1, 51.0), (2, 52.0), (3, 53.0)]


def test_a_killed_training_with_other_code_steps_aside(workspace):
    changed = {**RECORDS[0], "val/largest_top1": 7.0}
    _, run = followed(workspace, changed, ended=False)
    store, again = followed(workspace, *RECORDS)
    assert again.info.run_id != run.info.run_id
    assert runs(store, ViewType.DELETED_ONLY)["deps-0"].info.run_id == run.info.run_id
    assert curve(store, again) == [(1, 51.0), (2, 52.0), (3, 53.0)]


def test_a_run_that_another_machine_is_at_is_left_to_it(workspace):
    store, run = followed(workspace, RECORDS[0], ended=False)
    store.log(run.info.run_id, [], {"deps.work": "0123456789ab/quick/train/deps-0"})
    store.client.update_run(run.info.run_id, "RUNNING")
    assert sync({**workspace, "methods": ["rss"]}, store)[0] == 1
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"
    followed(workspace, *RECORDS)
    found = [found for found in store.client.search_runs([run.info.experiment_id]) if found.info.run_name == "deps-0"]
    assert [found.info.status for found in found] == ["FINISHED", "RUNNING"]
    assert found[1].info.run_id == run.info.run_id


def test_parameters_that_an_outage_swallowed_are_logged_again(workspace, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Store, "complete", lambda *arguments: (_ for _ in ()).throw(MlflowException("full")))
        with pytest.raises(MlflowException):
            sync(workspace, Store())
    store = Store()
    assert sync(workspace, store) == (2, 2)
    assert runs(store)["full_model-0"].data.params["train.epochs"]
    assert len(store.client.search_runs([store.experiment_id("quick")])) == 2


def test_diverged_and_infinite_values_are_no_contradiction(workspace):
    path = Path("runs/quick/train/deps-0/history.jsonl")
    records = [{**RECORDS[0], "train/loss_full": float("nan"), "val/largest_top1": float("inf")}, *RECORDS[1:]]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    store, run = followed(workspace, *records[:2])
    sync(workspace, store)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id
    assert sync(workspace, store) == (2, 0)
    assert len(curve(store, run)) == 3
