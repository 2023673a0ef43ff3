import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from scipy.stats import kendalltau

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.deploy.export.choice import int8_remarks, known_test_top1, remarks
from dεps.deploy.export.classify import classify, load
from dεps.deploy.export.command import Wish, export, print_exported
from dεps.deploy.export.int8 import ranking
from dεps.deploy.onnx.graph import INPUT
from dεps.deploy.onnx.session import open_session
from dεps.evaluation.noise import difference
from dεps.report.checklist import _models
from dεps.report.results import all_results
from dεps.workspace.stage import Context
from pipelines.export import work


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """Where the folder of the first test that needs one is kept for the others."""
    return tmp_path_factory.mktemp("int8") / "deps-0"


@pytest.fixture
def written(project, first) -> Path:
    """The folder of stage `export` with `export.int8`."""
    project["experiments"]["quick"]["export"]["int8"] = True
    Path("params.yaml").write_text(yaml.safe_dump(project))
    out = Path("runs/quick/export/deps-0")
    if first.exists():
        shutil.copytree(first, out)
        return out
    out.mkdir(parents=True)
    work(Context("export", "quick", "deps", 0, project), out)
    shutil.copytree(out, first)
    return out


def test_each_budget_has_both_files_measured_on_the_same_images(written, data):
    models = read_json(written / "models.json", "it")
    assert {f"{name}-int8" for name in models if not name.endswith("-int8")} <= models.keys()
    for name in [name for name in models if name.endswith("-int8")]:
        facts, of_float = models[name], models[name.removesuffix("-int8")]
        assert (facts["arch"], facts["max_macs"]) == (of_float["arch"], of_float["max_macs"])
        assert facts["bytes"] == (written / f"{name}.onnx").stat().st_size < of_float["bytes"]
        for split, key in (("validation", "val_top1"), ("test", "test_top1")):
            images = getattr(data, split)
            right = [_right(written / f"{one}.onnx", images) for one in (name, name.removesuffix("-int8"))]
            assert facts[key] == round(100 * right[0].mean(), 4)
            lost = difference(*right)
            assert facts["int8"][split] == {**lost._asdict(), "is_noise": lost.is_noise}


def _right(path: Path, split) -> np.ndarray:
    run, card = load(path)
    pixels = split.images.numpy().reshape(len(split), *card.shape[1:], 1).astype(np.float32)
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    images = (pixels / (255 * std) - mean / std).transpose(0, 3, 1, 2)
    return run(np.ascontiguousarray(images)).argmax(1) == split.labels.numpy()


def test_candidates_are_ranked_both_ways(written, project):
    models = read_json(written / "models.json", "it")
    found = models["large-int8"]["int8"]
    assert found["archs"] >= 2
    assert found["best_val_top1"] >= models["large-int8"]["val_top1"]
    words = int8_remarks(models["large-int8"])
    assert words == remarks(models["large-int8"])
    assert " to float on validation" in words[0]
    assert words[2].startswith(f"{found['archs']} archs in both ranked as by float with τ ")
    assert ("within noise" in words[0]) == found["validation"]["is_noise"]
    assert any("int8 would choose" in word for word in words) == (found["best"] != models["large-int8"]["arch"])
    assert int8_remarks(models["large"]) == []


def test_what_int8_gets_right_on_test_is_not_taken_for_floats(written, project):
    models = read_json(written / "models.json", "it")
    models = {"large-int8": models["large-int8"]}
    (written / "models.json").write_text(json.dumps(models))
    context = Context("export", "quick", "deps", 0, project)
    facts = models["large-int8"]
    assert known_test_top1(context, facts["arch"], facts["val_top1"]) is None


@pytest.mark.parametrize(
    "damage", [3, [], {"validation": 3}, {"validation": {"points": "a", "error": 1.0, "is_noise": True}}]
)
def test_a_damaged_entry_is_one_line(written, damage):
    facts = read_json(written / "models.json", "it")["large-int8"] | {"int8": damage}
    with pytest.raises(UserError, match=r"models\.json: large-int8\.int8"):
        remarks(facts, "models.json: large-int8")


def test_the_checklist_counts_subnets_and_not_files(written, project):
    (results,) = all_results(project)
    assert _models(results) == f"{len(results.models) // 2} exported subnets as ONNX, each in int8 too"


def test_what_search_has_measured_stays_in_float(written):
    """The front says 30.0 of the smallest arch, and so does its float model, though int8 was measured anew."""
    models = read_json(written / "models.json", "it")
    front = pd.read_csv("runs/quick/search/deps-0/front.csv")
    known = dict(zip(front.arch, front.measured, strict=True))
    own = [model for name, model in models.items() if known[model["arch"]] == 30.0 and not name.endswith("-int8")]
    assert all(model["val_top1"] == 30.0 for model in own)


def test_ranking_by_hand():
    macs = {"a": 1, "b": 2, "c": 3}
    found = ranking({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 3.0, "c": 2.5}, macs)
    assert found == {"archs": 3, "kendall_tau": pytest.approx(1 / 3, abs=1e-4), "best": "b", "best_val_top1": 3.0}
    assert found["kendall_tau"] == round(float(kendalltau([1, 2, 3], [1, 3, 2.5]).statistic), 4)
    assert ranking({"a": 1.0}, {"a": 2.0}, macs)["kendall_tau"] is None
    tied = ranking({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 2.0}, macs)
    assert (tied["kendall_tau"], tied["best"]) == (None, "a")


def test_the_command_writes_a_second_file_and_says_what_it_costs(project, capsys):
    result = export(project, "quick", "deps", 0, Wish(arch="largest"), out=Path("it.onnx"), int8=True)
    assert result.int8 is not None
    assert result.int8.path == Path("it-int8.onnx")
    assert (result.int8.card.test_top1, result.card.quantised) == (None, None)
    assert result.int8.lost.points == pytest.approx((result.int8.card.val_top1 or 0) - (result.card.val_top1 or 0))
    data = json.loads(result.to_json())["int8"]
    assert data["file"] == "it-int8.onnx"
    assert data["int8_ms"] > 0
    print_exported(result)
    text = capsys.readouterr().out
    assert "it-int8.onnx: int8: static, QDQ" in text
    assert "to float, paired" in text


def test_an_int8_file_classifies_and_says_what_it_is(project, tmp_path):
    from PIL import Image

    export(project, "quick", "deps", 0, Wish(arch="smallest"), out=Path("it.onnx"), int8=True)
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    (guess,) = classify(Path("it-int8.onnx"), [tmp_path / "black.png"], 1)
    assert guess.top[0][0] in load(Path("it-int8.onnx"))[1].classes
    texts = {entry.key: entry.value for entry in onnx.load("it-int8.onnx").metadata_props}
    assert texts["quantised"].startswith("int8")
    session = open_session(Path("it-int8.onnx"))
    assert session.get_inputs()[0].name == INPUT


@pytest.mark.parametrize("wrong", [{"format": "torch"}, {"wish": "torch"}])
def test_int8_needs_the_runtime_that_runs_it(project, wrong):
    from dεps.deploy.latency.timing import Conditions

    wish = Wish(arch="smallest", conditions=Conditions("torch" if "wish" in wrong else "onnxruntime"))
    with pytest.raises(UserError, match="--int8 goes with --format onnx and --engine onnxruntime"):
        export(project, "quick", "deps", 0, wish, wrong.get("format", "onnx"), int8=True)
