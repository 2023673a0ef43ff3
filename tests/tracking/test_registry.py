"""Exported subnets in the model registry, and that MLflow alone can use them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.deploy.export.card import ModelCard
from dεps.deploy.onnx.file import save_onnx
from dεps.deploy.onnx.session import open_session
from dεps.methods.registry import looks
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from dεps.tracking.views import POINTS
from tests.conftest import made_up_manifest, quick_params
from tests.tracking.faults import mlflow_server

USE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "dεps":
            raise ImportError("blocked")

sys.meta_path.insert(0, Blocked())
try:
    import dεps
except ImportError:
    pass
else:
    raise AssertionError("dεps can be imported")
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/quick-deps@small")
images = np.load(sys.argv[2])
assert not [name for name in sys.modules if name.split(".")[0] == "dεps"]
np.save(sys.argv[3], model.predict(images)["logits"])
print(model.metadata.signature.inputs, model.metadata.metadata["classes"], model.input_example.shape)
"""


def export(net, seed: int, budgets: dict[str, float]) -> None:
    """What stage `export` leaves of one seed: the smallest arch under each budget, with these accuracies."""
    folder, arch = Path(f"runs/quick/export/deps-{seed}"), net.space.smallest()
    folder.mkdir(parents=True, exist_ok=True)
    models = {}
    for name, top1 in budgets.items():
        card = ModelCard(
            experiment="quick",
            method="deps",
            seed=seed,
            space="mbv3_micro",
            arch=str(arch),
            classes=["Ärmel", "b"],
            channels=1,
            size=28,
            resolution=28,
            mean=[0.5],
            std=[0.1],
            macs=1000,
            params=10,
            data="m",
            data_hash="x",
            val_top1=top1,
            test_top1=top1 - 1,
        )
        save = save_onnx(extract(net, arch).eval(), card, folder / f"{name}.onnx", batches())
        models[name] = {"file": f"{name}.onnx", "sha256": f"{seed}{name}{top1}", "max_macs": 2000, **vars(card)}
        models[name]["onnx"] = save.to_json()
    write_json(folder / "models.json", models)


def batches():
    yield torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0, 1])


@pytest.fixture(scope="module")
def net(micro):
    return Supernet(micro, 2, channels=1, seed=3)


@pytest.fixture
def workspace(tmp_path, monkeypatch, net):
    """Result files of two seeds of DεpS, as the stages write them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    params = quick_params() | {"methods": ["deps"], "seeds": [0, 1]}
    write_json(Path("runs/quick/prepare/manifest.json"), made_up_manifest())
    for seed in (0, 1):
        path = Path(f"runs/quick/train/deps-{seed}")
        path.mkdir(parents=True)
        (path / "history.jsonl").write_text(json.dumps({"epoch": 1, "train/loss_full": 1.0}) + "\n")
    export(net, 0, {"small": 80.0, "large": 90.0})
    return params


def aliases(store) -> dict[str, str]:
    (model,) = store.client.search_registered_models()
    return {name: str(version) for name, version in model.aliases.items()}


def test_each_file_is_a_version_with_an_alias(workspace):
    store = Store()
    sync(workspace, store)
    assert aliases(store) == {"small": "1", "large": "2"}
    (model,) = store.client.search_registered_models()
    assert model.name == "quick-deps"
    assert "divide by 255" in model.description
    version = store.client.get_model_version_by_alias("quick-deps", "large")
    assert (version.tags["val_top1"], version.tags["test_top1"], version.tags["macs"]) == ("90.0", "89.0", "1000")
    assert "top-1 90.00 % on validation, 89.00 % on test." in version.description
    run = store.client.get_run(version.run_id)
    assert run.data.tags["method"] == "deps"
    (small, large) = sorted(store.client.search_logged_models([run.info.experiment_id]), key=lambda model: model.name)[
        ::-1
    ]
    assert {metric.key: metric.value for metric in large.metrics}["export/large_val_top1"] == 90.0
    assert {metric.key: metric.value for metric in small.metrics}["export/small_test_top1"] == 79.0
    assert large.params["space"] == "mbv3_micro"
    assert {key for key in run.data.metrics if key.startswith("export/")} == {
        f"export/{size}_{key}" for size in ("small", "large") for key in ("macs", "params", "val_top1", "test_top1")
    }
    history = store.client.get_metric_history(run.info.run_id, "export/large_macs")
    assert [(point.step, point.value) for point in history] == [(0, 1000.0)]


def test_once_more_changes_nothing(workspace):
    store = Store()
    assert sync(workspace, store)[1] == 2 + 4
    before = store.client.search_model_versions("name = 'quick-deps'")
    assert sync(workspace, store)[1] == 0
    after = store.client.search_model_versions("name = 'quick-deps'")
    assert [dict(version) for version in before] == [dict(version) for version in after]
    assert len(store.client.search_logged_models([store.experiment_id("quick")])) == 2


def test_other_files_are_new_versions_and_the_best_seed_has_the_alias(workspace, net):
    store = Store()
    sync(workspace, store)
    export(net, 1, {"small": 79.0, "large": 91.0})
    assert sync(workspace, store)[1] == 2 + 1
    assert aliases(store) == {"small": "1", "large": "4"}
    export(net, 1, {"small": 85.0, "large": 89.0})
    sync(workspace, store)
    assert aliases(store) == {"small": "5", "large": "2"}


def test_a_version_that_was_begun_is_begun_again(workspace, monkeypatch):
    store = Store()

    def fail(*arguments):
        raise OSError("full")

    with monkeypatch.context() as patch:
        patch.setattr("dεps.tracking.registry._write", fail)
        with pytest.raises(OSError, match="full"):
            sync(workspace, store)
    sync(workspace, store)
    assert aliases(store) == {"small": "1", "large": "2"}
    assert len(store.client.search_logged_models([store.experiment_id("quick")])) == 2


def test_a_fine_tuned_model_is_a_version_of_its_own(workspace, net):
    params = workspace | {"finetuned": ["small"]}
    folder, source = Path("runs/quick/finetune/deps-small-0"), Path("runs/quick/export/deps-0")
    folder.mkdir(parents=True)
    model = json.loads((source / "models.json").read_text())["small"]
    model |= {"val_top1": 84.0, "finetuned": "2 epochs on labels", "sha256": "other"}
    write_json(folder / "models.json", {"small-finetuned": model})
    (folder / "small-finetuned.onnx").write_bytes((source / "small.onnx").read_bytes())
    (folder / "history.jsonl").write_text(json.dumps({"epoch": 1, "train/loss_subnets": 1.0}) + "\n")
    write_json(folder / "metrics.json", {"finetune/val_top1": 84.0, "cost/train_tmacs": 0.5})
    store = Store()
    sync(params, store)
    found = aliases(store)
    assert set(found) == {"small", "large", "small-finetuned"}
    version = store.client.get_model_version("quick-deps", found["small-finetuned"])
    assert (version.tags["val_top1"], version.tags["budget"]) == ("84.0", "small-finetuned")
    assert "Fine-tuned: 2 epochs on labels." in version.description
    run = store.client.get_run(version.run_id)
    assert (run.info.run_name, run.data.tags["kind"]) == ("finetune-deps@small-0", "fine-tuned")
    assert run.data.metrics["finetune/val_top1"] == 84.0 and run.data.metrics["cost/train_tmacs"] == 0.5
    assert (run.data.params["finetune.epochs"], run.data.params["method.of"]) == ("25", "deps")
    assert run.data.params["method.supernet.shrink_start"] == "0.5"
    (point,) = store.client.get_metric_history(run.info.run_id, POINTS)
    assert (point.step, point.value) == (1, 79.0)  # kMACs, top-1 on test
    assert "dvc repro finetune@quick-deps-small-0" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["mlflow.runColor"] == looks()["deps"].colour
    assert sync(params, store)[1] == 0
    assert sync(workspace, store)[1] == 0  # what is not selected any more stays as it is


def test_damaged_results_are_named(workspace):
    store, path = Store(), Path("runs/quick/export/deps-0/models.json")
    models = json.loads(path.read_text())
    for key, value in (("sha256", None), ("classes", 5), ("arch", None), ("macs", "many")):
        write_json(path, {**models, "large": {**models["large"], key: value}})
        with pytest.raises(UserError, match=r"models\.json: large"):
            sync(workspace, store)
    write_json(path, models)
    path.with_name("large.onnx").unlink()
    with pytest.raises(UserError, match=r"large\.onnx does not exist"):
        sync(workspace, store)


@pytest.fixture
def server(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("server")) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "server"])
def test_mlflow_alone_loads_and_predicts(workspace, tmp_path_factory, kind, request):
    store = Store(request.getfixturevalue("server") if kind == "server" else None)
    sync(workspace, store)
    assert sync(workspace, store)[1] == 0
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    images = next(batches())[0].numpy()
    np.save(elsewhere / "images.npy", images)
    command = [sys.executable, "-I", "-c", USE, store.uri, "images.npy", "logits.npy"]
    environment = {"PATH": os.environ["PATH"], "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONUTF8": "1"}
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = open_session(Path("runs/quick/export/deps-0/small.onnx")).run(None, {"images": images})[0]
    assert np.array_equal(np.load(elsewhere / "logits.npy"), expected)
    assert "Tensor('float32', (-1, 1, 28, 28))" in done.stdout
    assert "['Ärmel', 'b'] (2, 1, 28, 28)" in done.stdout
