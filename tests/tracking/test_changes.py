"""Two runs of one method and seed can be told apart in the store."""

import shutil
from pathlib import Path

import pytest

from dεps.planning.check import composed
from dεps.tracking import changes
from dεps.tracking.changes import CHANGED_TAG, EXPERIMENT_TAG, changed
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from dεps.workspace.identity import run_identity
from tests.conftest import ROOT, made_up_manifest
from tests.tracking.results import write_results
from tests.tracking.test_views import state

EPOCHS, START = "experiments.quick.train.epochs=9", "experiments.quick.methods.deps.shrink_start=0.25"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes._composed.cache_clear()  # of tests before, which may have been where no preset is
    for variable in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(variable, raising=False)
    shutil.copytree(ROOT / "params", "params")
    return tmp_path


@pytest.mark.parametrize(
    ("overrides", "method", "expected"),
    [
        ([], "deps", {}),
        ([START], "deps", {CHANGED_TAG: "method.shrink_start=0.25"}),
        ([START], "rss", {}),
        ([START, EPOCHS], "full_model", {CHANGED_TAG: "train.epochs=9"}),
        ([START, EPOCHS], "deps", {CHANGED_TAG: "train.epochs=9, method.shrink_start=0.25"}),
        (["experiments.quick.dataset.workers=0", "seeds=[3]"], "deps", {}),
        (["portable=false"], "full_model", {CHANGED_TAG: "portable=false"}),
        (["portable=false", START], "deps", {CHANGED_TAG: "portable=false, method.shrink_start=0.25"}),
    ],
)
def test_a_run_says_what_was_changed(workspace, overrides, method, expected):
    identity = run_identity(composed(overrides)[0], "quick", method, 0, made_up_manifest())
    assert changed(identity) == expected


def test_a_run_says_that_it_is_portable_where_the_preset_is_not(workspace):
    on, off = (composed(["experiment=[cifar10]", f"portable={value}"])[0] for value in ("true", "false"))
    found = [changed(run_identity(params, "cifar10", "deps", 0, made_up_manifest())) for params in (on, off)]
    assert found == [{CHANGED_TAG: "portable=true"}, {}]


def test_a_preset_that_is_gone_changes_nothing(workspace):
    params, _ = composed([EPOCHS])
    params["experiments"]["mine"] = params["experiments"]["quick"]
    assert changed(run_identity(params, "mine", "deps", 0, made_up_manifest())) == {}


def test_runs_of_two_experiments_differ_in_columns_of_the_view(workspace, monkeypatch):
    write_results(["deps"])
    store = Store()
    sync(composed(["methods=[deps]"])[0], store)
    path = Path("runs/quick/train/deps-0/history.jsonl")  # of an earlier start
    path.write_text(path.read_text().replace("0.6", "0.5"))
    monkeypatch.setenv("DVC_EXP_NAME", "chill-awns")
    sync(composed(["methods=[deps]", START])[0], store)
    runs = store.client.search_runs([store.experiment_id("quick")], "tags.method = 'deps'", order_by=["start_time"])
    assert [run.info.run_name for run in runs] == ["deps-0", "deps-0"]
    told = {(run.data.tags.get(EXPERIMENT_TAG), run.data.tags.get(CHANGED_TAG)) for run in runs}
    assert told == {(None, None), ("chill-awns", "method.shrink_start=0.25")}
    assert {f"tags.`{CHANGED_TAG}`", f"tags.`{EXPERIMENT_TAG}`"} <= set(state()["selectedColumns"])
