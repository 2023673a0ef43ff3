"""What other parameters made is made again by `dvc repro`, and refused by a stage that finds it nevertheless."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dεps.deploy.export.choice import known_test_top1, read_front
from dεps.evaluation.inputs import load_data, load_net
from dεps.nets.files import save_supernet, trained_with
from dεps.nets.supernet import Supernet
from dεps.search.predictor import PredictConfig, fit, load_predictor, save_predictor
from dεps.spaces.encoding import encode_genomes
from dεps.workspace.identity import training_facts
from dεps.workspace.stage import Context
from dεps.workspace.tables import weights_stamp
from pipelines import predict
from tests.conftest import quick_params
from tests.pipelines.clone import OVERRIDES, Clone
from tests.tools.refusals import refusal

OTHER_SIZE = ["experiments.quick.dataset.image_size=32", "experiments.quick.space.resolution=[32]"]


@pytest.mark.slow
def test_another_image_size_is_prepared_again_and_never_taken_from_the_cache(tmp_path):
    clone = Clone(tmp_path, train_images=8)

    def prepared(*overrides: str) -> int:
        clone.call("deps", "params", *OVERRIDES, *overrides)
        clone.call("dvc", "repro", "prepare@quick")
        return json.loads((tmp_path / "runs/quick/prepare/manifest.json").read_text())["size"]

    assert [prepared(), prepared(*OTHER_SIZE)] == [28, 32]
    clone.call("deps", "params", *OVERRIDES)
    output = clone.call("python", "-m", "pipelines.full_model", "--experiment", "quick", "--seed", "0", check=False)
    assert "runs/quick/prepare/manifest.json is of dataset.image_size 32, but params.yaml says 28; 'dvc repro" in output
    assert "Traceback" not in output


@pytest.fixture
def params(tmp_path, monkeypatch, data) -> dict[str, Any]:
    """A workspace with the drawn images, prepared."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/quick").mkdir(parents=True)
    (tmp_path / "runs/quick/prepare").symlink_to(data.folder)
    params = quick_params()
    own = params["experiments"]["quick"]
    own["dataset"] |= {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": "images"}
    return params


def context(params: dict[str, Any], method: str = "deps", seed: int = 0) -> Context:
    return Context("evaluate", "quick", method, seed, params)


OTHER_DATA: dict[str, tuple[str, object]] = {
    "name": ("name", "other"),
    "size": ("image_size", 32),
    "channels": ("channels", 3),
    "crop": ("crop", 0.875),
    "holdout": ("holdout", 0.2),
    "holdout_seed": ("holdout_seed", 1),
    "splits": ("splits", {"train": "train", "validation": None, "test": "test"}),
    "duplicates": ("duplicates", "allow"),
}


@pytest.mark.parametrize("what", OTHER_DATA)
def test_data_of_other_parameters_are_refused(params, what):
    load_data(context(params))
    key, value = OTHER_DATA[what]
    params["experiments"]["quick"]["dataset"][key] = value
    message = refusal(lambda: load_data(context(params)), "runs/quick/prepare/manifest.json")
    assert f"is of dataset.{key} " in message
    assert "dvc repro --force --single-item prepare@quick" in message


def test_where_the_images_lie_does_not_matter(params):
    params["experiments"]["quick"]["dataset"] |= {"root": "elsewhere", "workers": 0, "in_memory_limit_mb": 1}
    assert load_data(context(params)).channels == 1


def test_data_of_another_class_list_are_refused(params):
    params["experiments"]["quick"]["dataset"]["classes"] = "classes.txt"
    Path("classes.txt").write_text("".join(f"class{number}\n" for number in range(4)))
    said = refusal(lambda: load_data(context(params)), "manifest.json")
    assert "is of dataset.classes 'all', but params.yaml says 'a list'" in said
    folder = Path("runs/quick/prepare")
    there = folder.resolve()
    folder.unlink()
    shutil.copytree(there, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["params"]["classes"] = "a list"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    load_data(context(params))
    Path("classes.txt").write_text("".join(f"class{number}\n" for number in range(3)))
    assert "other classes than the list classes.txt" in refusal(lambda: load_data(context(params)), "manifest.json")


def change(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(params: dict[str, Any]) -> None:
        for key in keys[:-1]:
            params = params[key]
        params[keys[-1]] = value

    return apply


def test_supernets_of_other_parameters_data_methods_and_seeds_are_refused(params, data, micro):
    path = Path("supernet.safetensors")
    facts = training_facts(params, "quick", "deps", 0, data.manifest)
    save_supernet(Supernet(micro, 4, channels=1), path, trained=facts)
    assert trained_with(path) == facts
    loaded = load_data(context(params))
    assert load_net(path, loaded, context(params)).classes == 4
    own = ("experiments", "quick")
    others = {
        "train": change(*own, "train", "learning_rate", value=0.123),
        "methods.deps": change(*own, "methods", "deps", "shrink_start", value=0.75),
        "dataset": lambda params: loaded.manifest["sha256"].update(train="other"),
    }
    for key, apply in others.items():
        changed = json.loads(json.dumps(params))
        apply(changed)
        assert f"another '{key}'" in refusal(
            lambda changed=changed: load_net(path, loaded, context(changed)), str(path)
        )
    loaded = load_data(context(params))
    assert "another 'methods.rss'" in refusal(lambda: load_net(path, loaded, context(params, "rss")), str(path))
    assert "another 'seed'" in refusal(lambda: load_net(path, loaded, context(params, seed=1)), str(path))
    save_supernet(Supernet(micro, 4, channels=1), path)  # weights from elsewhere say nothing
    assert trained_with(path) == {}
    assert load_net(path, loaded, context(params, "rss", 3)).classes == 4


def test_tables_of_other_weights_are_refused(params, micro):
    for stage in ("train", "evaluate", "search"):
        Path(f"runs/quick/{stage}/deps-0").mkdir(parents=True)
    weights = Path("runs/quick/train/deps-0/supernet.safetensors")
    save_supernet(Supernet(micro, 4, channels=1), weights)
    rows = [
        {"arch": str(arch), "macs": 1, "params": 1, "predicted": 50.0, "val_top1": 50.0, "test_top1": 50.0}
        for arch in micro.pareto_archs().values()
    ]
    table = pd.DataFrame(rows).assign(name="a", pareto=True, bucket=0, weights=weights_stamp(weights))
    for name in ("evaluate/deps-0/population.csv", "evaluate/deps-0/pareto.csv", "search/deps-0/front.csv"):
        table.to_csv(Path("runs/quick", name), index=False)
    assert len(read_front(context(params), micro)) == len(rows)
    arch, before = rows[0]["arch"], weights_stamp(weights)
    assert known_test_top1(context(params), arch, 50.0) == 50.0
    config, path = PredictConfig(), Path("runs/quick/predictor.safetensors")
    codes = np.eye(9, encode_genomes(micro, np.array([micro.to_genome(micro.largest())])).shape[1], dtype=np.float32)
    save_predictor(fit("ridge", codes, np.linspace(0.1, 0.9, 9), config, 0), path, micro, config, before)
    assert load_predictor(path, micro, config, before).kind == "ridge"
    save_supernet(Supernet(micro, 4, channels=1, seed=1), weights)
    other = f"was measured with other weights than {weights}"
    assert other in refusal(lambda: read_front(context(params), micro), "front.csv")
    assert other in refusal(lambda: predict.work(context(params), Path()), "runs/quick/evaluate/deps-0")
    assert known_test_top1(context(params), arch, 50.0) is None
    refusal(lambda: load_predictor(path, micro, config, weights_stamp(weights)), "has learnt from other weights")


def test_no_key_of_params_is_one_that_the_run_cache_ignores():
    from dvc_data.hashfile.meta import Meta

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) | set().union(*map(keys, value.values()), set())
        return set().union(*map(keys, value), set()) if isinstance(value, list) else set()

    assert not keys(quick_params()) & {Meta.PARAM_SIZE, Meta.PARAM_NFILES}
