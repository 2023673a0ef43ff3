import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities import Metric, ViewType
from mlflow.exceptions import MlflowException

from dεps.core.files import read_json, write_json
from dεps.methods.registry import looks
from dεps.report.style import FAINT, FULL
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import SearchSpace
from dεps.tracking import place
from dεps.tracking.place import Work
from dεps.tracking.runs import log_system, pass_on
from dεps.tracking.store import Store
from dεps.tracking.sync import sync, track
from dεps.tracking.views import POINTS
from dεps.workspace.identity import finetuned_method, run_identity
from dεps.workspace.live import LiveFile, read_live
from dεps.workspace.locks import exclusive
from dεps.workspace.stage import Context
from tests.conftest import made_up_manifest, quick_params
from tests.tracking import results

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
    params = quick_params() | {"methods": ["deps"], "seeds": [0]}
    write_json(Path("runs/quick/prepare/manifest.json"), made_up_manifest())
    for folder in ("full_model/0", "train/deps-0"):
        path = Path("runs/quick", folder)
        path.mkdir(parents=True)
        (path / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
        (path / "supernet.safetensors").write_bytes(b"weights")
    write_json(
        Path("runs/quick/evaluate/deps-0/metrics.json"), {"pareto/mean_top1": 80.5, "pareto/smallest_top1": 78.0}
    )
    Path("runs/quick/evaluate/deps-0/pareto.csv").write_text(results.POINTS.format(top1=72.0))
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
    assert run.data.tags["mlflow.runColor"] == looks()["deps"].colour
    points = store.client.get_metric_history(run.info.run_id, POINTS)
    assert [(point.step, point.value) for point in points] == [(1000, 72.0), (2001, 80.5)]  # kMACs, top-1 on test
    inputs = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert {use: json.loads(data.profile)["images"] for use, data in inputs.items()} == {
        use: made_up_manifest()["images"][split]
        for use, split in (("training", "train"), ("validation", "validation"), ("test", "test"))
    }
    assert {data.name for data in inputs.values()} == {"m"}


def test_the_experiment_that_mlflow_creates_is_not_kept_empty(workspace):
    store = Store()
    assert [found.name for found in store.client.search_experiments()] == ["Default"]
    sync(workspace, store)
    sync(workspace, store)
    assert [found.name for found in Store().client.search_experiments()] == ["quick"]


def test_an_experiment_called_default_that_has_runs_stays(workspace):
    store = Store()
    store.client.create_run("0")
    sync(workspace, store)
    assert {found.name for found in store.client.search_experiments()} == {"Default", "quick"}


def test_what_was_trained_alone_has_runs_of_its_own(workspace):
    alone = Path("runs/quick/standalone/smallest-0")
    shutil.copytree("runs/quick/full_model/0", alone)
    write_json(Path("runs/quick/reference/standalone/smallest-0.json"), {"pareto/smallest_top1": 79.0})
    write_json(Path("runs/quick/reference/full_model/0.json"), {"pareto/largest_top1": 84.0})
    note = {"seconds": 7.5, "started": 1.0, "threads": 3, "kernels": {"OPENBLAS_CORETYPE": "Haswell"}}
    write_json(Path(".state/timing/quick/standalone/smallest-0.json"), note)
    write_json(Path(".state/timing/quick/full_model/0.json"), {"seconds": 8.5, "started": 1.0, "kernels": {}})
    store = Store()
    assert sync(workspace, store) == (3, 3)
    assert sync(workspace, store) == (3, 0)
    found = runs(store)
    assert set(found) == {"deps-0", "full_model-0", "standalone-smallest-0"}
    run = found["standalone-smallest-0"]
    assert (run.data.metrics["pareto/smallest_top1"], run.data.metrics["cost/train_tmacs"]) == (79.0, 3)
    assert run.data.metrics["time/standalone_seconds"] == 7.5
    assert (run.data.tags["threads"], run.data.tags["kernels"]) == ("3", "standalone: OPENBLAS_CORETYPE=Haswell")
    assert {"threads", "kernels"}.isdisjoint(found["full_model-0"].data.tags)
    assert (run.data.tags["method"], run.data.params["method.arch"]) == ("standalone-smallest", "smallest")
    assert found["full_model-0"].data.metrics["pareto/largest_top1"] == 84.0
    points = {name: store.client.get_metric_history(found[name].info.run_id, POINTS) for name in found}
    context = Context("train", "quick", "deps", 0, workspace)
    space = context.section(SearchSpace, "space")
    for name, arch, top1 in (("standalone-smallest-0", "smallest", 79.0), ("full_model-0", "largest", 84.0)):
        macs = arch_cost(space, space.named(arch), 2, made_up_manifest()["channels"]).macs
        assert [(point.step, point.value) for point in points[name]] == [(round(macs / 1000), top1)]
        assert found[name].data.tags["mlflow.runColor"] == (FULL if arch == "largest" else FAINT)


def test_a_training_of_deps_finetune_is_finished_without_results(workspace):
    """The command leaves nothing in runs/: its live file is what MLflow has of it."""
    name = finetuned_method("deps", "k3e2_k3e2_k3e2_r28")
    context = Context("finetune", "quick", "deps", 0, workspace, "k3e2_k3e2_k3e2_r28")
    assert context.training == name
    live = LiveFile.of(context, name, made_up_manifest())
    live.start([])
    live.log(RECORDS[0])
    store = Store()
    sync(workspace, store)
    assert f"{name}-0" not in runs(store)  # it was killed, and may go on
    live.finish()
    assert sync(workspace, store)[1] == 1
    run = runs(store)[f"{name}-0"]
    assert (run.info.status, run.data.metrics["cost/train_tmacs"]) == ("FINISHED", 1)
    assert (run.data.params["method.subnet"], run.data.tags["kind"]) == ("k3e2_k3e2_k3e2_r28", "fine-tuned")
    assert sync(workspace, store)[1] == 0


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


def test_a_training_that_is_evaluated_again_leaves_no_old_numbers(workspace):
    """As in a store that is rebuilt; but for what the machine did, which is in no file."""
    evaluated, path = Path("runs/quick/evaluate/deps-0/metrics.json"), Path("runs/quick/evaluate/deps-0/pareto.csv")
    write_json(evaluated, {"pareto/mean_top1": 80.5, "pareto/smallest_top1": 78.0, "pareto/ema_mean_top1": 7.0})
    store = Store()
    sync(workspace, store)
    run = runs(store)["deps-0"]
    store.log(run.info.run_id, [Metric("system/cpu", 50.0, 30_000, 30), Metric("system/cpu", 60.0, 60_000, 60)])
    path.write_text(results.POINTS.format(top1=65.0))
    write_json(evaluated, {"pareto/mean_top1": 71.5, "pareto/smallest_top1": 65.0})
    assert sync(workspace, store) == (2, 1)
    assert sync(workspace, store) == (2, 0)
    again = runs(store)["deps-0"]
    assert again.info.run_id != run.info.run_id
    assert curve(store, again, POINTS) == [(1000, 65.0), (2001, 80.5)]
    assert curve(store, again, "pareto/mean_top1") == [(0, 71.5)]
    assert "pareto/ema_mean_top1" not in again.data.metrics
    assert curve(store, again, "system/cpu") == [(30, 50.0), (60, 60.0)]
    rebuilt = Store(f"sqlite:///{Path.cwd()}/rebuilt.db")
    sync(workspace, rebuilt)
    mine, theirs = content(store)["deps-0"], content(rebuilt)["deps-0"]
    assert {key: points for key, points in mine[2].items() if key != "system/cpu"} == theirs[2]
    assert runs(store)["full_model-0"].info.run_id not in (run.info.run_id, again.info.run_id)
    assert set(runs(store, ViewType.DELETED_ONLY)) == {"deps-0"}


def test_figures_that_are_drawn_again_leave_the_run_alone(workspace):
    store = Store()
    sync(workspace, store)
    run = runs(store)["deps-0"]
    Path("reports/experiments/quick/pareto.png").write_bytes(b"another")
    assert sync(workspace, store) == (2, 2)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id


def test_weights_that_go_and_come_back_leave_the_run_alone(workspace):
    """They need not travel with results, and what the machine did is in no file."""
    store, weights = Store(), Path("runs/quick/train/deps-0/supernet.safetensors")
    sync(workspace, store)
    run = runs(store)["deps-0"]
    store.log(run.info.run_id, [Metric("system/cpu", 50.0, 1, 1)])
    weights.unlink()
    assert sync(workspace, store) == (2, 0)
    weights.write_bytes(b"weights")
    assert sync(workspace, store) == (2, 0)
    again = runs(store)["deps-0"]
    assert (again.info.run_id, again.data.metrics["system/cpu"]) == (run.info.run_id, 50.0)
    assert "supernet/supernet.safetensors" in files(store, again)
    assert runs(store, ViewType.DELETED_ONLY) == {}


def test_weights_that_come_later_are_added(workspace):
    store, weights = Store(), Path("runs/quick/train/deps-0/supernet.safetensors")
    weights.unlink()
    sync(workspace, store)
    run = runs(store)["deps-0"]
    assert "supernet/supernet.safetensors" not in files(store, run)
    weights.write_bytes(b"weights")
    assert sync(workspace, store) == (2, 1)
    again = runs(store)["deps-0"]
    assert again.info.run_id == run.info.run_id
    assert "supernet/supernet.safetensors" in files(store, again)
    assert curve(store, again) == CURVE


def test_a_run_whose_noted_hash_is_of_the_weights_too_stays(workspace):
    """So it was in earlier versions."""
    store = Store()
    sync(workspace, store)
    run = runs(store)["deps-0"]
    store.log(run.info.run_id, [], {"deps.part.train": "0123456789abcdef"})
    store.client.delete_tag(run.info.run_id, "deps.part.supernet")
    assert sync(workspace, store) == (2, 1)
    assert sync(workspace, store) == (2, 0)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id
    assert curve(store, run) == CURVE
    assert len(store.client.get_metric_history(run.info.run_id, "val/largest_top1")) == 3


def test_a_shorter_history_replaces_the_run(workspace):
    store = Store()
    sync(workspace, store)
    path = Path("runs/quick/train/deps-0/history.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert sync(workspace, store) == (2, 1)
    assert curve(store, runs(store)["deps-0"]) == CURVE[:2]
    assert len(runs(store, ViewType.DELETED_ONLY)) == 1


def left_out(capsys):
    """The items that a line on stderr names."""
    return re.findall(r"left out (.*): these results are not of the params and inputs here; ", capsys.readouterr().err)


def test_results_of_other_parameters_are_left_out(workspace, capsys):
    results.write_lock(workspace)
    store = Store()
    assert sync(workspace, store) == (2, 2)
    assert capsys.readouterr().err == ""
    before = content(store)
    workspace["experiments"]["quick"]["methods"]["deps"]["shrink_start"] = 0.25
    assert sync(workspace, store) == (1, 0)
    assert left_out(capsys) == ["train@quick-deps-0"]
    workspace["experiments"]["quick"]["train"]["epochs"] = 99
    assert sync(workspace, store) == (0, 0)
    assert left_out(capsys) == ["full_model@quick-0, train@quick-deps-0"]
    assert content(store) == before
    assert sync(workspace, Store(f"sqlite:///{Path.cwd()}/rebuilt.db")) == (0, 0)


def test_results_that_the_other_parameters_have_made_are_another_run(workspace, capsys):
    store = Store()
    results.write_lock(workspace)
    sync(workspace, store)
    workspace["experiments"]["quick"]["methods"]["deps"]["shrink_start"] = 0.25
    path = Path("runs/quick/train/deps-0/history.jsonl")
    path.write_text(path.read_text().replace("53.0", "54.0"))
    path.with_name("supernet.safetensors").write_bytes(b"others")
    results.write_lock(workspace, ["train"])
    assert sync(workspace, store) == (2, 1)
    assert left_out(capsys) == ["evaluate@quick-deps-0"]  # of the supernet of before
    found = store.client.search_runs([store.experiment_id("quick")], "tags.method = 'deps'")
    told = {run.data.params["method.shrink_start"]: run.data.metrics for run in found}
    assert {key: metrics["val/largest_top1"] for key, metrics in told.items()} == {"0.5": 53.0, "0.25": 54.0}
    assert {key: metrics.get("pareto/mean_top1") for key, metrics in told.items()} == {"0.5": 80.5, "0.25": None}
    write_json(Path("runs/quick/evaluate/deps-0/metrics.json"), {"pareto/mean_top1": 81.5})
    results.write_lock(workspace, ["evaluate"])
    assert sync(workspace, store) == (2, 1)
    assert left_out(capsys) == []
    found = store.client.search_runs([store.experiment_id("quick")], "tags.method = 'deps'")
    assert {run.data.metrics["pareto/mean_top1"] for run in found} == {80.5, 81.5}


def test_a_run_stays_the_only_one_where_its_results_do_not_depend_on_what_was_changed(workspace, capsys):
    write_json(Path("runs/quick/search/deps-0/metrics.json"), {"search/val_hypervolume": 0.5})
    results.write_lock(workspace)
    store = Store()
    assert sync(workspace, store) == (2, 2)
    workspace["experiments"]["quick"]["search"]["generations"] = 7
    assert sync(workspace, store) == (2, 0)
    assert left_out(capsys) == ["search@quick-deps-0"]
    fresh = Store(f"sqlite:///{Path.cwd()}/fresh.db")
    sync(workspace, fresh)
    assert "search/val_hypervolume" not in runs(fresh)["deps-0"].data.metrics
    write_json(Path("runs/quick/search/deps-0/metrics.json"), {"search/val_hypervolume": 0.75})
    results.write_lock(workspace, ["search"])
    assert sync(workspace, store) == (2, 1)
    found = store.client.search_runs([store.experiment_id("quick")])
    told = sorted((run.info.run_name, run.data.metrics.get("search/val_hypervolume")) for run in found)
    assert told == [("deps-0", 0.5), ("deps-0", 0.75), ("full_model-0", None)]


def test_the_full_model_on_test_is_left_out_until_it_is_measured_again(workspace, capsys):
    measured = Path("runs/quick/reference/full_model/0.json")
    write_json(measured, {"pareto/largest_top1": 84.0})
    results.write_lock(workspace)
    workspace["experiments"]["quick"]["train"]["learning_rate"] = 0.125
    path = Path("runs/quick/full_model/0/history.jsonl")
    path.write_text(path.read_text().replace("53.0", "54.0"))
    results.write_lock(workspace, ["full_model"])
    store = Store()
    assert sync(workspace, store) == (1, 1)
    assert left_out(capsys) == ["reference@quick, train@quick-deps-0"]
    assert "pareto/largest_top1" not in runs(store)["full_model-0"].data.metrics
    write_json(measured, {"pareto/largest_top1": 85.0})
    results.write_lock(workspace, ["reference"])
    sync(workspace, store)
    assert runs(store)["full_model-0"].data.metrics["pareto/largest_top1"] == 85.0


def test_what_nothing_tells_is_logged_once_and_said(workspace, capsys):
    """Without dvc.lock: with the params of today, but not a second time with those of tomorrow."""
    store = Store()
    assert sync(workspace, store) == (2, 2)
    told = "full_model@quick-0, train@quick-deps-0, evaluate@quick-deps-0"
    assert f"dvc.lock does not say which params {told} ran with" in capsys.readouterr().err
    workspace["experiments"]["quick"]["methods"]["deps"]["shrink_start"] = 0.25
    workspace["experiments"]["quick"]["train"]["epochs"] = 99
    assert sync(workspace, store) == (2, 0)
    assert f"the store has the results of {told} with other params, " in capsys.readouterr().err
    assert len(store.client.search_runs([store.experiment_id("quick")])) == 2
    path = Path("runs/quick/train/deps-0/history.jsonl")
    path.write_text(path.read_text().replace("53.0", "54.0"))
    assert sync(workspace, store) == (2, 1)
    workspace["experiments"]["quick"]["methods"]["deps"]["shrink_start"] = 0.5
    workspace["experiments"]["quick"]["train"]["epochs"] = 4
    assert sync(workspace, store) == (2, 0)  # the first run stays, though its results are no longer here
    found = store.client.search_runs([store.experiment_id("quick")], "tags.method = 'deps'")
    told = {run.data.params["method.shrink_start"]: run.data.metrics["val/largest_top1"] for run in found}
    assert told == {"0.5": 53.0, "0.25": 54.0}


def test_a_training_that_dvc_did_not_run_says_itself_with_which_parameters(workspace, capsys):
    training(workspace, *RECORDS)
    workspace["experiments"]["quick"]["search"]["generations"] = 7
    store = Store()
    assert sync(workspace, store) == (2, 2)
    workspace["experiments"]["quick"]["methods"]["deps"]["shrink_start"] = 0.25
    assert sync(workspace, Store(f"sqlite:///{Path.cwd()}/fresh.db")) == (1, 1)
    assert left_out(capsys) == ["train@quick-deps-0"]


def test_weights_that_are_not_here_do_not_make_results_others(workspace, capsys):
    """As where results have come by a remote without them."""
    results.write_lock(workspace)
    Path("runs/quick/train/deps-0/supernet.safetensors").unlink()
    assert sync(workspace) == (2, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("uri", ["http://me:geheim@127.0.0.1:9", "postgresql://me:geheim@127.0.0.1:9/db"])
def test_an_unusable_store_is_a_warning(workspace, capsys, uri):
    assert track(workspace, uri) is False
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: MLflow was not brought up to date")
    assert "geheim" not in captured.out + captured.err


WORK = Work("quick/train/deps-0")


def training(workspace, *records, ended=True):
    """The live file of DεpS's training, after these epochs."""
    identity = run_identity(workspace, "quick", "deps", 0, read_json(Path("runs/quick/prepare/manifest.json")))
    live = LiveFile(WORK.live, identity)
    live.start([])
    for record in records:
        live.log(record)
    if ended:
        live.finish()
    return live


@contextmanager
def running():
    """As while stage `train` is at it."""
    with exclusive(Path(".state/locks/quick/train/deps-0.lock"), "runs this stage"):
        yield


def followed(workspace, store, *records):
    """The run of a training that is followed until it has had these epochs, and then is killed."""
    with running():
        training(workspace, *records, ended=False)
        pass_on(store, [WORK])
    return runs(store)["deps-0"]


def curve(store, run, key="val/largest_top1"):
    return sorted((point.step, point.value) for point in store.client.get_metric_history(run.info.run_id, key))


CURVE = [(1, 51.0), (2, 52.0), (3, 53.0)]


def content(store):
    """All that the store holds of each run, but for its number and what names it."""
    found = {}
    for name, run in runs(store).items():
        tags = {key: text.replace(run.info.run_id, "RUN") for key, text in run.data.tags.items()}
        histories = {key: store.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
        points = {
            key: sorted((point.step, point.timestamp, point.value) for point in history)
            for key, history in histories.items()
        }
        inputs = [i.dataset.to_dictionary() for i in run.inputs.dataset_inputs]
        times = run.info.status, run.info.start_time, run.info.end_time
        found[name] = tags, run.data.params, points, inputs, times, files(store, run)
    return found


def files(store, run, folder=None):
    there = store.client.list_artifacts(run.info.run_id, folder)
    return [path for file in there for path in (files(store, run, file.path) if file.is_dir else [file.path])]


def test_what_was_followed_is_what_the_files_say(workspace):
    """Followed, killed, followed again from another state, finished, tracked: as tracked from files alone."""
    store = Store()
    write_json(Path(".state/timing/quick/train/deps-0.json"), {"seconds": 7.5, "started": 1.0})
    run = followed(workspace, store, RECORDS[0])
    assert (run.info.status, curve(store, run)) == ("RUNNING", CURVE[:1])
    assert pass_on(store, [WORK]) == 1
    assert runs(store)["deps-0"].info.status == "KILLED"
    with running():
        live = LiveFile(WORK.live, read_live(WORK.live).identity)
        live.start(RECORDS[:1])  # it goes on after the first epoch
        live.log(RECORDS[1])
        assert pass_on(store, [WORK]) == 1
        live.log(RECORDS[2])
        assert pass_on(store, [WORK]) == 1
        assert pass_on(store, [WORK]) == 0
        live.finish()
    assert sync(workspace, store) == (2, 2)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id
    assert sync(workspace, store) == (2, 0)
    scratch = Store(f"sqlite:///{Path('scratch.db').resolve()}")
    assert sync(workspace, scratch) == (2, 2)
    assert scratch.experiment_id("quick") == store.experiment_id("quick")
    assert content(scratch) == content(store)
    live_times = [time for time, _ in read_live(WORK.live).epochs]
    assert [time for _, time, _ in content(store)["deps-0"][2]["val/largest_top1"]] == live_times
    assert {"deps.host", "deps.work"}.isdisjoint(runs(store)["deps-0"].data.tags)


def test_what_the_machine_does_is_the_runs_while_its_training_runs_here(workspace):
    store = Store()
    run = followed(workspace, store, RECORDS[0])
    began = run.info.start_time
    log_system(store, [WORK], {"cpu_utilization_percentage": 12.5}, began + 5000)  # it was killed
    assert curve(store, run, "system/cpu_utilization_percentage") == []
    with running():
        log_system(store, [WORK], {"cpu_utilization_percentage": 12.5}, began + 5000)
        log_system(store, [WORK], {"cpu_utilization_percentage": 50.0}, began + 35_999)
        assert curve(store, run, "system/cpu_utilization_percentage") == [(5, 12.5), (35, 50.0)]
        assert ("system/cpu_utilization_percentage", 5) not in store.points(store.client.get_run(run.info.run_id))
        assert pass_on(store, [WORK]) == 0


def test_energy_is_logged_where_a_stage_has_noted_it(workspace):
    store = Store()
    note = {"seconds": 7.5, "started": 1.0, "joules": {"cpu": 1500.0, "gpu": None}}
    write_json(Path(".state/timing/quick/train/deps-0.json"), note)
    write_json(Path(".state/timing/quick/full_model/0.json"), {"seconds": 7.5, "started": 1.0})
    sync(workspace, store)
    found = {name: run.data.metrics for name, run in runs(store).items()}
    energy = {key: value for metrics in found.values() for key, value in metrics.items() if key.startswith("energy/")}
    assert energy == {"energy/train_cpu_kilojoules": 1.5}
    assert found["deps-0"]["time/train_seconds"] == 7.5


def test_a_running_training_says_where_it_is(workspace):
    store = Store()
    run = followed(workspace, store, RECORDS[0])
    assert run.data.tags["deps.host"] == place.host()
    assert run.data.tags["threads"] == os.environ["OMP_NUM_THREADS"]
    assert run.data.tags["deps.work"] == f"{place.workspace()}/quick/train/deps-0"
    assert run.data.tags["kind"] == "method"  # the saved view has it
    assert place.work_of(run.data.tags) == WORK


def test_tracking_passes_on_what_is_under_way(workspace):
    store = Store()
    shutil.rmtree("runs/quick/train")
    with running():
        live = training(workspace, RECORDS[0], ended=False)
        assert sync(workspace, store) == (1, 2)
        live.log(RECORDS[1])
        assert sync(workspace, store) == (1, 1)
    run = runs(store)["deps-0"]
    assert (run.info.status, curve(store, run)) == ("RUNNING", CURVE[:2])
    live.finish()
    assert sync(workspace, store) == (1, 1)
    run = runs(store)["deps-0"]
    assert (run.info.status, run.info.end_time) == ("FINISHED", read_live(WORK.live).epochs[-1][0])


def test_what_was_never_followed_is_not_begun_without_results(workspace):
    store = Store()
    shutil.rmtree("runs/quick/train")
    for ended in (False, True):
        training(workspace, RECORDS[0], ended=ended)
        sync(workspace, store)
        assert set(runs(store)) == {"full_model-0"}


def test_a_training_in_a_copy_of_dvcs_queue_is_followed(workspace, monkeypatch):
    copy = Path(".dvc/tmp/exps/tmpabc")
    copy.mkdir(parents=True)
    here, store = Path.cwd(), Store()
    shutil.copytree("runs", copy / "runs")
    monkeypatch.setenv("DVC_EXP_NAME", "tall-poem")
    with monkeypatch.context() as patch:
        patch.chdir(copy)
        with running():
            training(workspace, *RECORDS[:2], ended=False)
            patch.setenv("DVC_ROOT", str(here))
            (work,) = place.works()
            assert pass_on(store, [work]) == 1
    run = runs(store)["deps-0"]
    assert (run.info.status, curve(store, run)) == ("RUNNING", CURVE[:2])
    assert run.data.tags["dvc_experiment"] == "tall-poem"
    assert work == place.work_of(run.data.tags) == Work("quick/train/deps-0", ".dvc/tmp/exps/tmpabc")
    assert pass_on(store, place.works()) == 1
    assert runs(store)["deps-0"].info.status == "KILLED"


def test_points_are_not_repeated_at_other_times(workspace):
    store = Store()
    run = followed(workspace, store, *RECORDS[:2])
    shutil.rmtree(".state/live")
    sync(workspace, store)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id
    assert curve(store, run) == CURVE


def test_a_run_of_a_killed_training_is_taken_up(workspace):
    store = Store()
    run = followed(workspace, store, *RECORDS[:2])
    pass_on(store, [WORK])
    with running():
        training(workspace, *RECORDS)  # from the start, at other times
        again = runs(store)["deps-0"]
        assert (again.info.run_id, again.info.status) == (run.info.run_id, "KILLED")
    again = followed(workspace, store, *RECORDS)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "RUNNING")
    assert curve(store, again) == CURVE


def test_a_training_that_goes_on_and_ends_unseen_is_finished(workspace):
    store = Store()
    shutil.rmtree("runs/quick/train")
    run = followed(workspace, store, RECORDS[0])
    assert pass_on(store, [WORK]) == 1
    killed = runs(store)["deps-0"]
    assert killed.info.status == "KILLED"
    assert killed.data.tags["deps.work"]
    training(workspace, *RECORDS)
    assert pass_on(store, [WORK]) == 1
    again = runs(store)["deps-0"]
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert curve(store, again) == CURVE
    assert pass_on(store, [WORK]) == 0


def test_a_killed_training_with_other_code_steps_aside(workspace):
    store = Store()
    run = followed(workspace, store, {**RECORDS[0], "val/largest_top1": 7.0})
    again = followed(workspace, store, *RECORDS)
    assert again.info.run_id != run.info.run_id
    assert runs(store, ViewType.DELETED_ONLY)["deps-0"].info.run_id == run.info.run_id
    assert curve(store, again) == CURVE


def test_a_run_with_results_steps_aside_when_it_is_trained_again(workspace):
    store = Store()
    sync(workspace, store)
    before = runs(store)["deps-0"]
    again = followed(workspace, store, RECORDS[0])
    assert again.info.run_id != before.info.run_id
    assert (again.info.status, set(again.data.metrics)) == ("RUNNING", set(RECORDS[0]) - {"epoch", "step", "phase"})
    assert sync(workspace, store) == (2, 1)
    assert content(store)["deps-0"][2]["pareto/mean_top1"]


def test_a_run_of_other_parameters_ends_when_its_work_is_another(workspace):
    store = Store()
    followed(workspace, store, RECORDS[0])
    workspace["experiments"]["quick"]["train"]["epochs"] += 1
    with running():
        training(workspace, RECORDS[0], ended=False)
        assert pass_on(store, [WORK]) == 2
    found = store.client.search_runs([store.experiment_id("quick")])
    assert [run.info.status for run in found] == ["RUNNING", "KILLED"]


def test_a_run_that_another_machine_is_at_is_left_to_it(workspace):
    store = Store()
    run = followed(workspace, store, RECORDS[0])
    store.log(run.info.run_id, [], {"deps.work": "0123456789ab/quick/train/deps-0"})
    assert sync(workspace, store)[0] == 2
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"
    found = [found for found in store.client.search_runs([run.info.experiment_id]) if found.info.run_name == "deps-0"]
    assert sorted(found.info.status for found in found) == ["FINISHED", "RUNNING"]
    assert curve(store, run) == CURVE[:1]


def test_a_run_of_another_machine_in_the_same_folder_is_not_ended(workspace):
    store = Store()
    run = followed(workspace, store, RECORDS[0])
    store.log(run.info.run_id, [], {"deps.host": "another"})
    shutil.rmtree("runs/quick/train")
    sync(workspace, store)
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


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
    store = Store()
    run = followed(workspace, store, *records[:2])
    sync(workspace, store)
    assert runs(store)["deps-0"].info.run_id == run.info.run_id
    assert sync(workspace, store) == (2, 0)
    assert len(curve(store, run)) == 3
