from pathlib import Path

import pytest
import yaml

from dεps.core.files import read_json, write_json
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from tests.conftest import ROOT, made_up_manifest
from tests.tracking import results
from tests.tuning.tables import write_study


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_json(Path("runs/quick/prepare/manifest.json"), made_up_manifest())
    changes = {"objectives": ["accuracy"], "pruner": "asha", "pruner_from": 0.125, "trials": 12}
    write_study(tmp_path / "study", Path("runs/quick/tune"), **changes)
    Path("reports/experiments/quick").mkdir(parents=True)
    Path("reports/experiments/quick/tuning_front.png").write_bytes(b"png")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["experiments"]["quick"]["tuning"] |= changes
    results.write_lock(params)
    return params


def runs(store):
    return {run.info.run_name: run for run in store.client.search_runs([store.experiment_id("quick")])}


def test_a_study_is_a_parent_run_with_a_run_a_trial(workspace):
    store = Store()
    assert sync(workspace, store) == (13, 13)
    found = runs(store)
    parent = found.pop("tune-0")
    assert parent.data.metrics["tune/trials"] == 12
    assert (parent.data.params["tuning.trials"], parent.data.params["tuning.pruner"]) == ("12", "asha")
    assert {file.path for file in store.client.list_artifacts(parent.info.run_id)} == {"tune", "figures", "params"}
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert parent.data.tags["mlflow.note.content"].startswith("**Study**, seed 0, on m: ")
    first = found["trial-0-0"]
    assert first.data.tags["mlflow.note.content"].startswith("**Trial 0**, the given point *base*, complete: DεpS")
    assert {key: first.data.tags[key] for key in ("method", "kind", "point", "state", "dataset", "seed")} == {
        "method": "deps",
        "kind": "trial",
        "point": "base",
        "state": "complete",
        "dataset": "m",
        "seed": "0",
    }
    assert first.data.params["method.shrink_start"] == "0.5"
    assert found["trial-1-0"].data.params["method.shrink_start"] == "0.25"
    assert found["trial-4-0"].data.params["method.distill"] == "false"
    assert first.data.metrics["pareto/mean_val_top1"] == 79.5
    curve = store.client.get_metric_history(first.info.run_id, "val/smallest_top1")
    assert [point.step for point in curve] == list(range(1, 9))
    states = {run.data.tags["state"]: run.info.status for run in found.values()}
    assert states == {"complete": "FINISHED", "pruned": "KILLED"}
    assert all("pareto/mean_val_top1" not in r.data.metrics for r in found.values() if r.info.status == "KILLED")


def test_once_more_changes_nothing(workspace):
    store = Store()
    sync(workspace, store)
    before = {name: run.to_dictionary() for name, run in runs(store).items()}
    assert sync(workspace, store) == (13, 0)
    assert {name: run.to_dictionary() for name, run in runs(store).items()} == before


def test_other_results_replace_a_trial(workspace):
    store = Store()
    sync(workspace, store)
    path = Path("runs/quick/tune/trials.csv")
    path.write_text(path.read_text().replace("79.5", "79.25"))
    results.write_lock(workspace)
    assert sync(workspace, store) == (13, 2)
    assert len(runs(store)) == 13
    assert runs(store)["trial-0-0"].data.metrics["pareto/mean_val_top1"] == 79.25


@pytest.mark.parametrize("locked", [True, False])
def test_a_study_of_other_parameters_is_left_out(workspace, capsys, locked):
    store = Store()
    sync(workspace, store)
    if not locked:
        Path("dvc.lock").unlink()
    workspace["experiments"]["quick"]["tuning"]["trials"] = 8
    capsys.readouterr()
    assert sync(workspace, store) == (0, 0)
    told = "left out tune@quick: " if locked else "the store has the results of tune@quick with other params, "
    assert capsys.readouterr().err.startswith(f"warning: track: {told}")
    assert len(runs(store)) == 13
    assert runs(store)["tune-0"].data.params["tuning.trials"] == "12"
    fresh = Store(f"sqlite:///{Path.cwd()}/fresh.db")
    assert sync(workspace, fresh) == ((0, 0) if locked else (13, 13))
    assert ("does not say which params tune@quick ran with" in capsys.readouterr().err) is not locked


def test_a_studys_summary_leaves_no_old_numbers(workspace):
    store, path = Store(), Path("runs/quick/tune/summary.json")
    sync(workspace, store)
    summary = read_json(path)
    write_json(path, {key: value + 1 for key, value in summary.items() if key != "tune/pruned"})
    results.write_lock(workspace)
    assert sync(workspace, store) == (13, 13)
    parent = runs(store)["tune-0"]
    assert "tune/pruned" not in parent.data.metrics
    history = store.client.get_metric_history(parent.info.run_id, "tune/front_size")
    assert [point.value for point in history] == [summary["tune/front_size"] + 1]
    assert len(runs(store)) == 13
