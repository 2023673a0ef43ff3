"""A project's folder that is moved or renamed keeps its artifacts and registered models."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest

from dεps.nets.supernet import Supernet
from dεps.tracking.address import tracking_uri
from dεps.tracking.moved import mend
from dεps.tracking.store import Store
from dεps.tracking.sync import sync, track
from tests.conftest import ROOT, quick_params
from tests.tracking.results import write_results
from tests.tracking.test_registry import export

ODD = ["b c", "h#x&y;z", "ε é 'a' \"b\""]
#: tracks and checks a project in a process of its own, since MLflow keeps a connection by its address
ELSEWHERE = """
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from tests.tracking.test_moved import check, params
assert sync(params(), Store())[1] == 0
check(Store())
"""


def check(store: Store) -> None:
    """What every experiment, run and model of the store points to is there, and MLflow gets it."""
    here = Path.cwd().as_uri()
    client, uri = store.client, tracking_uri()
    experiment = client.get_experiment_by_name("quick")
    assert experiment.artifact_location == f"{here}/mlartifacts/quick"
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert all(run.info.artifact_uri.startswith(f"{here}/") for run in runs.values())
    got = client.download_artifacts(runs["deps-0"].info.run_id, "evaluate/pareto.csv")
    assert Path(got).read_bytes() == Path("runs/quick/evaluate/deps-0/pareto.csv").read_bytes()
    mlflow.set_tracking_uri(uri)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # which that sets
    # In a path that holds %20, MLflow loads a model from a copy only: it decodes its own local path once more.
    copy = tempfile.mkdtemp() if "%20" in str(Path.cwd()) else None
    model = mlflow.pyfunc.load_model("models:/quick-deps@small", dst_path=copy)
    assert model.predict(np.zeros((2, 1, 28, 28), np.float32))["logits"].shape == (2, 2)
    assert all(
        m.artifact_location.startswith(f"{here}/") for m in client.search_logged_models([experiment.experiment_id])
    )


@pytest.fixture
def project(tmp_path, monkeypatch, micro):
    """A function that makes a tracked project in a folder of that name."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    before = mlflow.get_tracking_uri()

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        write_results(["deps"])
        export(Supernet(micro, 2, channels=1, seed=3), 0, {"small": 80.0})
        sync(params(), Store())
        return folder

    yield make
    mlflow.set_tracking_uri(before)


def params() -> dict:
    return quick_params() | {"methods": ["deps"], "seeds": [0]}


@pytest.mark.slow
def test_a_folder_that_moves_keeps_artifacts_and_models(project, monkeypatch, capfd):
    folder = project("plain")
    check(Store())
    for name in ODD:
        folder = folder.rename(folder.with_name(name))
        monkeypatch.chdir(folder)
        assert track(params())
        out = capfd.readouterr().out
        assert "0 new or changed" in out
        # of an experiment, the one that MLflow makes itself, 2 runs, a logged model, a version's two
        assert "this folder was another; 7 addresses of artifacts mended" in out
        check(Store())
        assert "mended" not in capfd.readouterr().out
    assert not folder.with_name("plain").exists()  # nothing was written where the folder was


@pytest.mark.slow
def test_a_folder_whose_name_has_signs_of_addresses(project, tmp_path):
    name = "q?a=b&c#d 100% p%20x"
    folder = project("plain").rename(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "7 addresses of artifacts mended" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing was written beside it


def store_of(root: Path, *experiments: tuple[str, str]) -> None:
    """A database with nothing but the experiments' places."""
    root.mkdir(exist_ok=True)
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE experiments (name, artifact_location)")
        database.execute("CREATE TABLE runs (artifact_uri)")
        for name, location in experiments:
            database.execute("INSERT INTO experiments VALUES (?, ?)", (name, location))
            database.execute("INSERT INTO runs VALUES (?)", (f"{location}/1/artifacts",))


def places(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        return [
            row[0]
            for table in ("artifact_location FROM experiments", "artifact_uri FROM runs")
            for row in database.execute(f"SELECT {table}")
        ]


def test_what_was_elsewhere_on_purpose_stays(tmp_path):
    (tmp_path / "disk/mlartifacts/big").mkdir(parents=True)
    outside = [
        ("big", (tmp_path / "disk/mlartifacts/big").as_uri()),  # a folder of artifacts without a store
        ("cloud", "s3://bucket/mlartifacts/cloud"),
        ("own", (tmp_path / "old-and-more/own").as_uri()),
    ]
    store_of(tmp_path / "new", ("quick", (tmp_path / "old/mlartifacts/quick").as_uri()), *outside)
    assert mend(tmp_path / "new") == 2
    here = (tmp_path / "new/mlartifacts/quick").as_uri()
    assert places(tmp_path / "new") == [
        here,
        *(place for _, place in outside),
        f"{here}/1/artifacts",
        *(f"{place}/1/artifacts" for _, place in outside),
    ]
    assert mend(tmp_path / "new") == 0


def test_a_copy_writes_into_its_own_folder(tmp_path):
    place = (tmp_path / "first/mlartifacts/quick").as_uri()
    (tmp_path / "first/mlartifacts/quick").mkdir(parents=True)
    for root in ("first", "copy"):
        store_of(tmp_path / root, ("quick", place))
    assert (mend(tmp_path / "first"), mend(tmp_path / "copy")) == (0, 2)
    assert places(tmp_path / "copy")[0] == (tmp_path / "copy/mlartifacts/quick").as_uri()


@pytest.mark.slow
def test_a_store_that_is_named_is_left_alone(project, tmp_path, monkeypatch):
    folder = project("plain")
    moved = folder.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    Path("mlflow.db").rename("shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved / 'shared.db'}")
    assert Store().client.get_experiment_by_name("quick").artifact_location.startswith(folder.as_uri())


def test_a_damaged_database_is_an_error_of_its_file(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"mlflow\.db: file is not a database"):
        mend(tmp_path)
