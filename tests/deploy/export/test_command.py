import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.core.hashing import file_sha256
from dεps.deploy.export.command import Validation
from dεps.deploy.latency.command import table_for
from dεps.deploy.latency.timing import Conditions
from dεps.evaluation.accuracy import Recalibration, top1
from dεps.evaluation.noise import standard_error
from dεps.search.latency.table import latency_of_archs
from dεps.spaces.space import Arch
from dεps.workspace.stage import Context
from pipelines import export as stage
from tests.tools.latency import latency_table
from tests.tools.refusals import assert_one_line


def exported(*arguments) -> dict:
    result = CliRunner().invoke(main, ["export", "quick", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments) -> str:
    before = set(Path().rglob("*"))
    result = CliRunner().invoke(main, ["export", "quick", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert_one_line(result.stderr[:-1])
    assert {path for path in Path().rglob("*") if ".state" not in path.parts} <= before
    return result.stderr


def test_the_best_under_a_budget_by_validation(project, net, data):
    front = pd.read_csv("runs/quick/search/deps-0/front.csv")
    limit = front.macs.iloc[3]
    result = exported("--max-macs", limit, "--out", "out/net.onnx")
    indices = Recalibration.of(data.train, 48, 0)
    under = front[front.macs <= limit]
    asked = {*under.nlargest(2, "predicted").arch, *under.arch[under.measured.notna()]}
    rates = {arch: round(top1(net, Arch.parse(arch), data, data.validation, indices), 4) for arch in asked}
    # What search measured is not asked: it may have been of weights that have since been trained anew.
    assert (under.measured.dropna() == 30.0).all() and 30.0 not in rates.values()
    assert result["arch"] in asked
    assert result["val_top1"] == rates[result["arch"]] == max(rates.values())
    assert result["macs"] <= limit
    assert result["check"]["images"] == 48
    assert (result["latency"], result["test_top1"]) == (None, None)
    assert onnx.load("out/net.onnx").graph.output[0].name == "logits"


def test_named_archs_other_formats_and_default_names(project):
    first = exported("--arch", "smallest", "--format", "safetensors")
    assert first["file"] == "quick-deps-407k.safetensors"
    assert Path(first["file"]).exists()
    text = CliRunner().invoke(main, ["export", "quick", "--arch", "largest", "--format", "torch"]).stdout
    assert text.startswith("quick-deps-2.28M.pt2: quick deps-0, 4 classes of drawn\n")
    assert "same top-1 as PyTorch" in text
    assert torch.export.load("quick-deps-2.28M.pt2") is not None


def test_test_accuracy_is_looked_up_and_never_measured(project, data):
    arch = exported("--arch", "smallest")["arch"]
    val_top1 = exported("--arch", "smallest")["val_top1"]
    Path("runs/quick/prepare/test.safetensors").unlink()
    for measured, stated in ((val_top1, 12.5), (val_top1 + 1, None)):  # the other one is of other weights
        row = {"bucket": 0, "arch": arch, "macs": 1, "params": 1, "val_top1": measured, "test_top1": 12.5}
        table = pd.DataFrame([row])
        table.to_csv("runs/quick/evaluate/deps-0/population.csv", index=False)
        assert exported("--arch", "smallest")["test_top1"] == stated


def test_a_latency_limit(project, net, monkeypatch):
    monkeypatch.setattr("dεps.deploy.latency.timing.ROUNDS", 7)
    monkeypatch.setattr("dεps.deploy.latency.timing.SAMPLE", 3e-4)
    _, path = table_for(net, Conditions(), None, unseen=8)
    assert path.parts[:2] == (".state", "latency")
    result = exported("--max-latency-ms", 50)
    latency = result["latency"]
    assert 0 < latency["measured_ms"] <= 50
    assert latency["table"] == str(path)
    assert latency["of"].startswith("onnxruntime")
    assert latency["arch"] == result["arch"]
    message = refused("--max-latency-ms", "0.000001")
    assert "the fastest arch is predicted to take " in message


def test_a_limit_of_parameters(project):
    front = pd.read_csv("runs/quick/search/deps-0/front.csv").sort_values("params")
    middle = front.params.iloc[len(front) // 2]
    found = exported("--max-params", middle)
    assert found["params"] <= middle
    assert found["arch"] in set(front.arch[front.params <= middle])
    assert exported("--max-params", middle, "--max-macs", found["macs"])["macs"] <= found["macs"]
    least = f"{front.params.iloc[0]:,}"
    assert f"the smallest arch that search found has {least} parameters" in refused("--max-params", "1")
    assert "--max-params goes with --max-macs or alone" in refused("--max-params", "1M", "--max-latency-ms", "1")
    assert "--max-params is 'many'; expected a number of parameters such as 3M" in refused("--max-params", "many")


def test_refusals(project):
    assert "of the archs that search found the least is 357 k MACs" in refused("--max-macs", "100k")
    assert "allowed: bignas, compofa, deps" in refused("--method", "nope")
    assert "'dvc repro train@quick-deps-7'" in refused("--seed", 7)
    assert "--arch is 'huge'" in refused("--arch", "huge")
    front = Path("runs/quick/search/deps-0/front.csv")
    text = front.read_text()
    front.write_text(text.replace("_r28", "_r29"))
    assert "front.csv holds 'k3e2_k3e2_k3e2_r29', no arch of mbv3_micro" in refused("--max-macs", "1M")
    front.unlink()
    assert "'dvc repro search@quick-deps-0'" in refused("--max-macs", "1M")
    Path("runs/quick/predict/deps-0/predictor.safetensors").unlink()
    assert "'dvc repro predict@quick-deps-0'" in refused("--max-latency-ms", "1")


def test_the_stage_writes_models_under_each_budget(project, net, data, monkeypatch):
    context = Context("export", "quick", "deps", 0, project)
    contents = []
    for name in ("one", "two"):
        Path(name).mkdir()
        stage.work(context, Path(name))
        contents.append({path.name: path.read_bytes() for path in Path(name).iterdir()})
    assert contents[0] == contents[1]
    classes = {"classes.csv", "confusion.csv", "examples.csv", "examples.safetensors"}
    assert set(contents[0]) == {"small.onnx", "medium.onnx", "large.onnx", "models.json", *classes}
    models = json.loads(contents[0]["models.json"])
    indices = Recalibration.of(data.train, 48, 0)
    for model in models.values():
        arch = Arch.parse(model["arch"])
        assert model["macs"] <= model["max_macs"]
        assert model["test_top1"] == round(top1(net, arch, data, data.test, indices), 4)
        assert model["onnx"]["file_top1"] == model["onnx"]["torch_top1"] == model["test_top1"]
        assert model["onnx"]["images"] == 48
        assert model["test_images"] == model["val_images"] == 48
        assert model["test_std_error"] == standard_error(model["test_top1"], 48)
        assert model["val_std_error"] == standard_error(model["val_top1"], 48)
        assert model["onnx"]["max_logit_difference"] < 1e-4
    assert models["large"]["max_macs"] > models["small"]["max_macs"]
    assert models["small"]["val_top1"] <= models["medium"]["val_top1"] <= models["large"]["val_top1"]
    for budget, splits in models["large"]["worse_than"].items():
        for split, found in splits.items():
            key = {"validation": "val_top1", "test": "test_top1"}[split]
            assert found["points"] == pytest.approx(models["large"][key] - models[budget][key], abs=1e-3) < 0
            assert found["is_noise"] == (-found["points"] <= 2 * found["error"])


def test_a_larger_model_that_is_worse_on_test_is_compared_on_the_same_images():
    smaller, larger = np.arange(48) < 40, np.arange(48) < 36  # 4 lost: sqrt(4 - 16 / 48) = 1.9149
    assert stage._against([smaller, larger], [smaller, smaller]) == {
        "test": {"points": -8.3333, "error": 3.9893, "is_noise": False}
    }


def test_a_smaller_arch_within_noise_of_the_chosen_one_is_named(project, net, data):
    measure = Validation(net, data, Recalibration.of(data.train, 48, 0))
    small, large = net.space.smallest(), net.space.largest()
    measure([small, large])
    for lost, named in ((3, True), (9, False)):  # 3 ± 1.68 of 48 images, and 9 ± 2.70
        measure.right = {str(large): np.arange(48) < 40, str(small): np.arange(48) < 40 - lost}
        found = measure.smaller(large)
        assert (found is not None) == named
        assert found is None or (found.arch, found.gain, found.gain_std_error) == (str(small), 6.25, 3.4939)
    assert measure.smaller(small) is None


@pytest.mark.parametrize(("budgets", "kept"), [([1.0, 400_000.0], 2), ([1000.0, 400_000.0], 1)])
def test_a_budget_that_a_method_cannot_meet_is_left_out(project, capsys, budgets, kept):
    named = [{"name": f"b{number}", "max_macs": value} for number, value in enumerate(budgets)]
    project["experiments"]["quick"]["export"]["budgets"] = named
    Path("out").mkdir()
    stage.work(Context("export", "quick", "deps", 0, project), Path("out"))
    assert len(json.loads(Path("out/models.json").read_text())) == kept
    assert (
        "no arch under b0, 1 k MACs; of the archs that search found the least is 357 k MACs" in capsys.readouterr().out
    ) == (kept == 1)


@pytest.fixture
def timed(project, net):
    """The project with a latency table, and the front's milliseconds by arch; a function sets the budgets."""
    table = latency_table(net.space, 4)
    write_json(Path("phone.json"), vars(table))
    sha256, quick = file_sha256(Path("phone.json")), project["experiments"]["quick"]
    quick["search"] |= {"latency": "phone.json", "latency_sha256": sha256}
    frame = pd.read_csv(path := Path("runs/quick/search/deps-0/front.csv"))
    genomes = np.array([net.space.to_genome(Arch.parse(arch)) for arch in frame.arch])
    frame["ms"] = latency_of_archs(table, net.space, 4, 1)(genomes).round(6)
    frame.assign(latency_table=f"sha256:{sha256}").to_csv(path, index=False)

    def models(*budgets) -> dict:
        quick["export"]["budgets"] = list(budgets)
        Path("out").mkdir(exist_ok=True)
        stage.work(Context("export", "quick", "deps", 0, project), Path("out"))
        return json.loads(Path("out/models.json").read_text())

    return project, table, dict(zip(frame.arch, frame.ms, strict=True)), models


def test_a_budget_of_milliseconds_by_a_latency_table(timed):
    project, table, ms, models = timed
    limit = (min(ms.values()) + max(ms.values())) / 2
    budgets = [{"name": "phone", "max_ms": limit}, {"name": "both", "max_ms": limit, "max_macs": 0.5}]
    found = models(*budgets, {"name": "large", "max_macs": 1.0})
    assert [*found] == ["phone", "both", "large"]
    for name, keys in {"phone": {"max_ms"}, "both": {"max_ms", "max_macs"}, "large": {"max_macs"}}.items():
        model = found[name]
        assert model["ms"] == ms[model["arch"]]
        assert {key for key in model if key.startswith("max_m")} == keys
        assert model["ms"] <= model.get("max_ms", max(ms.values()))
        assert model["latency_table"]["of"] == "onnxruntime 1 on a phone, 1 thread, batch 1"
    # Another table of that name is not taken in silence, nor one that the front is not of.
    write_json(Path("phone.json"), vars(replace(table, offset_ms=1.0)))
    with pytest.raises(UserError, match=r"search\.latency: phone.json is another file than latency_sha256 names"):
        models(*budgets)
    project["experiments"]["quick"]["search"]["latency_sha256"] = file_sha256(Path("phone.json"))
    with pytest.raises(UserError, match=r"front\.csv was searched with another latency table, or none"):
        models(*budgets)


def test_int8_has_no_milliseconds_of_the_float_net(timed):
    project, _, ms, models = timed
    project["experiments"]["quick"]["export"]["int8"] = True
    found = models({"name": "phone", "max_ms": max(ms.values())})
    assert found["phone"]["ms"] > 0
    assert found["phone-int8"]["max_ms"] == max(ms.values())
    assert not {"ms", "latency_table"} & found["phone-int8"].keys()


def test_a_smaller_model_that_is_too_slow_is_no_alternative(timed, project, monkeypatch, net):
    *_, models = timed
    path = Path("runs/quick/search/deps-0/front.csv")
    frame, small = pd.read_csv(path), str(net.space.smallest())
    frame["ms"] = np.where(frame.arch == small, 9.0, 2.0)
    frame.to_csv(path, index=False)
    fast, tiny = {"name": "fast", "max_ms": 3.0}, {"name": "tiny", "max_macs": float(frame.macs.min())}
    monkeypatch.setattr(stage, "_against", lambda larger, smaller: {"test": {"points": -1.0}})
    monkeypatch.setattr(stage, "worse_than", lambda facts: [])
    assert models(fast, tiny)["fast"]["worse_than"] == {}
    chosen = frame.arch[frame.macs.idxmax()]
    monkeypatch.setattr(stage, "most_accurate", lambda front, archs, known: chosen if chosen in archs else small)
    assert [*models({"name": "fast", "max_macs": 1.0}, tiny)["fast"]["worse_than"]] == ["tiny"]


def test_budgets_of_which_none_can_be_met(project):
    project["experiments"]["quick"]["export"]["budgets"] = [{"name": "tiny", "max_macs": 1000.0}]
    Path("out").mkdir()
    with pytest.raises(Exception, match=r"experiments.quick.export.budgets: tiny is 1 k MACs"):
        stage.work(Context("export", "quick", "deps", 0, project), Path("out"))
    assert list(Path("out").iterdir()) == []
