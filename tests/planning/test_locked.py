"""What dvc.lock says of results, by made-up entries; folders' hashes are those of DVC itself."""

from pathlib import Path

import pytest

from dεps.core.files import write_json
from dεps.planning.locked import Locked
from tests.conftest import quick_params
from tests.tracking.results import write_lock, write_results

HISTORY = Path("runs/quick/train/deps-0/history.jsonl")


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(["deps"])
    write_json(Path("runs/quick/reference/full_model/0.json"), {"pareto/largest_top1": 84.0})
    Path("runs/quick/export/deps-0").mkdir(parents=True)
    Path("runs/quick/export/deps-0/models.json").write_text("{}")
    params = quick_params()
    params["experiments"]["quick"]["train"]["weight_decay"] = 3e-05  # which YAML 1.1 takes for text as DVC writes it
    params["experiments"]["quick"]["dataset"]["name"] = "off"  # … and this for false
    write_lock(params)
    return params


def fits(params):
    items = ("prepare@quick", "full_model@quick-0", "reference@quick")
    items += tuple(f"{stage}@quick-deps-0" for stage in ("train", "evaluate", "export"))
    locked = Locked(params)
    return {item.split("@")[0] for item in items if locked.fits(item)}


EVERYTHING = {"prepare", "full_model", "reference", "train", "evaluate", "export"}


def test_results_of_todays_params_fit(params):
    text = Path("dvc.lock").read_text()
    assert ("weight_decay: 3e-05\n" in text, "name: off\n" in text) == (True, True)
    assert fits(params) == EVERYTHING


@pytest.mark.parametrize(
    ("keys", "value", "left"),
    [
        (("methods", "deps", "shrink_start"), 0.25, {"prepare", "full_model", "reference"}),
        (("train", "epochs"), 99, {"prepare", "reference"}),
        (("train", "augment", "crop_padding"), 3, {"prepare"}),
        (("evaluate", "recalibration_images"), 5, EVERYTHING - {"evaluate"}),
        (("dataset", "holdout"), 0.5, set()),
        (("dataset", "workers"), 7, EVERYTHING),
        (("search", "latency"), "elsewhere/table.json", EVERYTHING),
        (("methods", "rss", "method"), "deps", EVERYTHING),
    ],
)
def test_what_does_not_fit_after_a_change_of_params(params, keys, value, left):
    section = params["experiments"]["quick"]
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    assert fits(params) == left


def test_keys_that_only_select_change_nothing_and_portable_does(params):
    assert fits(params | {"seeds": [0, 1], "standalone": ["largest"]}) == EVERYTHING
    assert fits(params | {"portable": True}) == {"prepare"}


def test_what_read_another_input_does_not_fit(params):
    HISTORY.with_name("supernet.safetensors").write_bytes(b"others")
    write_lock(params, ["train"])
    assert fits(params) == EVERYTHING - {"evaluate", "export"}


def test_what_read_another_folder_does_not_fit_if_all_of_it_is_here(params):
    path = Path("runs/quick/full_model/0/history.jsonl")
    path.write_text("another\n")
    assert fits(params) == EVERYTHING - {"reference"}
    path.with_name("supernet.safetensors").unlink()
    assert fits(params) == EVERYTHING


def test_it_is_not_known_of_other_files_or_without_an_entry(params):
    assert Locked(params).fits("train@quick-deps-0", HISTORY) is True
    assert Locked(params).fits("export@quick-deps-0", Path("runs/quick/export/deps-0")) is True
    assert Locked(params).fits("train@quick-rss-0") is None
    HISTORY.write_text("another\n")
    assert Locked(params).fits("train@quick-deps-0", HISTORY) is None
    for damage in (b"stages:\n  train@quick-deps-0:\n    cmd", b"\xff", b"", b"schema: '2.0'\n"):
        Path("dvc.lock").write_bytes(damage)
        assert Locked(params).fits("train@quick-deps-0") is None
    Path("dvc.lock").unlink()
    assert Locked(params).fits("train@quick-deps-0") is None
