"""Subnets that train on: where they begin, what that costs, what is written, and that a killed training goes on."""

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.classify import load
from dεps.deploy.finetune.training import finetuning, gains
from dεps.evaluation.accuracy import Recalibration, top1
from dεps.evaluation.inputs import load_net
from dεps.methods.finetune import FineTuneConfig
from dεps.nets.files import load_supernet, trained_with
from dεps.nets.supernet import Supernet
from dεps.report.results import results_of
from dεps.report.tables import finetuned_caption, finetuned_table
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.workspace.stage import Context
from pipelines import finetune as stage
from tests.deploy.finetune.conftest import SPENT
from tests.tools.refusals import assert_one_line, files

CONFIG = TrainConfig(epochs=4, batch_size=32, learning_rate=0.05, validate_recalibration=40, teacher_recalibration=40)
#: steps of an epoch of 192 images
STEPS = 6


def context(params: dict, budget: str = "small") -> Context:
    return Context("finetune", "quick", "deps", 0, params, budget=budget)


def worked(params: dict, name: str = "runs/quick/finetune/deps-small-0") -> Path:
    out = Path(name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    stage.work(context(params), out)
    return out


def interrupted(monkeypatch, run, step: int) -> None:
    """Run up to a step, and stop there."""
    real = Trainer._step

    def stopping(self, *arguments) -> None:
        if self.step == step:
            raise KeyboardInterrupt
        real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        run()


def test_it_begins_exactly_at_the_exported_subnet(exported, data):
    """Before the first step accuracies are those of the exported model, image by image."""
    net = load_supernet(Path("runs/quick/train/deps-0/supernet.safetensors"))
    models = json.loads(Path("runs/quick/export/deps-0/models.json").read_text())
    arch = Arch.parse(models["small"]["arch"])
    images = Recalibration.of(data.train, 48, 0)
    trainer = finetuning(net, arch, data, CONFIG, FineTuneConfig(), 7, SPENT)
    assert (trainer.step, trainer.macs) == (0, SPENT)
    for split, key in ((data.validation, "val_top1"), (data.test, "test_top1")):
        assert round(top1(trainer.net, arch, data, split, images), 4) == models["small"][key]
    (gain,) = gains(net, trainer.net, arch, data, [data.test], images)
    assert (gain.before, gain.after, gain.points, gain.is_noise) == (*[models["small"]["test_top1"]] * 2, 0.0, True)
    again = trainer.anew()
    assert (again.macs, again.beginning) == (SPENT, trainer.beginning)
    assert all(torch.equal(a, b) for a, b in zip(again.net.parameters(), net.parameters(), strict=True))


@pytest.mark.parametrize("teacher", ["labels", "full_model"])
def test_cost_by_hand_and_only_the_arch_is_trained(net, data, teacher):
    space, plain = net.space, TrainConfig(epochs=4, batch_size=32, weight_decay=0.0, teacher_recalibration=40)
    arch = space.smallest()
    trainer = finetuning(net, arch, data, plain, FineTuneConfig(epochs=3, teacher=teacher), 0, SPENT)
    for _ in trainer.run():
        pass
    steps = 3 * STEPS
    own, whole = (arch_cost(space, one, 4, 1).macs for one in (arch, space.largest()))
    taught = whole if teacher == "full_model" else 0  # forward only
    assert trainer.macs - SPENT == steps * 32 * (3 * own + taught)
    assert trainer.history[-1]["cost/train_tmacs"] == round(trainer.macs / 1e12, 6)
    assert [record["epoch"] for record in trainer.history] == [1, 2, 3]
    changed = {
        name
        for (name, now), was in zip(trainer.net.named_parameters(), net.parameters(), strict=True)
        if not torch.equal(now, was)
    }
    assert "classifier.weight" in changed
    third = {name for name, _ in net.named_parameters() if name.startswith("body.blocks.3.")}  # which it lacks
    assert third and not third & changed
    if teacher == "full_model":
        assert trainer.teacher is not None and not trainer.teacher.training


def test_the_teacher_is_the_supernets_full_model_as_it_was(net, data):
    trainer = finetuning(net, net.space.smallest(), data, CONFIG, FineTuneConfig(epochs=1, teacher="full_model"), 0, 0)
    list(trainer.run())
    assert torch.equal(trainer.teacher.classifier.weight, net.classifier.weight)
    assert not torch.equal(trainer.net.classifier.weight, net.classifier.weight)


def test_an_elastic_space_trains_at_the_archs_own_resolution(micro, data):
    from dataclasses import replace

    space = replace(micro, resolution=[24, 28])
    net = Supernet(space, 4, channels=1, seed=1)
    for side in (24, 28):
        trainer = finetuning(net, space.smallest().at(side), data, CONFIG, FineTuneConfig(), 0, 0)
        assert {trainer._resolution(step) for step in range(50)} == {side}


def test_the_stage_by_value(exported, data):
    out = worked(exported)
    assert {path.name for path in out.iterdir()} == {
        *("supernet.safetensors", "history.jsonl", "curves.csv", "summary.json"),
        *("small-finetuned.onnx", "models.json", "metrics.json"),
    }
    before = json.loads(Path("runs/quick/export/deps-0/models.json").read_text())["small"]
    model = json.loads((out / "models.json").read_text())["small-finetuned"]
    numbers = json.loads((out / "metrics.json").read_text())
    images, arch = Recalibration.of(data.train, 48, 0), Arch.parse(before["arch"])
    after = load_supernet(out / "supernet.safetensors")
    assert (model["arch"], model["max_macs"]) == (before["arch"], before["max_macs"])
    for split, key, own in (("validation", "val", data.validation), ("test", "test", data.test)):
        gain = model["gain"][split]
        assert gain["before"] == before[f"{key}_top1"] == numbers[f"finetune/{key}_top1_before"]
        assert gain["after"] == model[f"{key}_top1"] == round(top1(after, arch, data, own, images), 4)
        assert gain["points"] == pytest.approx(gain["after"] - gain["before"], abs=1e-3)
    assert model["test_top1"] == model["onnx"]["file_top1"]
    spent = 2 * STEPS * 32 * 3 * before["macs"]
    assert numbers["finetune/own_tmacs"] == round(spent / 1e12, 6)
    assert numbers["cost/train_tmacs"] == round((SPENT + spent) / 1e12, 6)
    assert json.loads((out / "summary.json").read_text())["cost/train_tmacs"] == numbers["cost/train_tmacs"]
    card = ModelCard.from_texts({p.key: p.value for p in onnx.load(out / model["file"]).metadata_props}, out)
    assert (card.finetuned, card.arch, card.seed) == ("2 epochs on labels", before["arch"], 0)
    assert load(out / model["file"])[1] == card


def test_it_learns(exported):
    """Of a supernet that was never trained: chance is 25 %."""
    exported["experiments"]["quick"]["finetune"] |= {"epochs": 8, "learning_rate_ratio": 1.0}
    gain = json.loads((worked(exported) / "models.json").read_text())["small-finetuned"]["gain"]
    assert gain["validation"]["points"] > 10 and not gain["validation"]["is_noise"]
    assert gain["test"]["points"] > 10


def test_the_report_shows_before_after_and_cost(exported):
    out = worked(exported)
    model = json.loads((out / "models.json").read_text())["small-finetuned"]
    results = results_of(exported, "quick")
    (row,) = finetuned_table(results).to_dict("records")
    gain, cost = model["gain"]["test"], model["cost"]
    assert (row["budget"], row["test before (%)"]) == ("small", f"{gain['before']:.2f}")
    assert row["after (%), test"] == f"{gain['after']:.2f}"
    sign = f"{gain['points']:+.2f}".replace("-", "−")
    assert row["gain, test (points)"] == f"{sign} ± {gain['error']:.2f}"
    assert row["fine-tuning (TMACs)"] == f"{cost['finetune/own_tmacs']:.3f}"
    assert row["training (TMACs)"] == f"{cost['cost/train_tmacs']:.3f}"
    assert "2 epochs on labels; top-1 before and after" in finetuned_caption(results)
    assert results_of(exported | {"finetuned": []}, "quick").finetuned.empty  # what is not selected is not shown
    del model["gain"]["test"]
    (out / "models.json").write_text(json.dumps({"small-finetuned": model}))
    with pytest.raises(UserError, match=r"models\.json: small-finetuned.*gain\.test has no before"):
        assert results_of(exported, "quick").finetuned is None


@pytest.mark.parametrize("teacher", ["labels", "full_model"])
def test_a_killed_training_goes_on_to_the_same_bytes(exported, monkeypatch, teacher):
    exported["experiments"]["quick"]["finetune"]["teacher"] = teacher
    exported["checkpoint"] = {"epochs": 1, "seconds": 0}
    whole = files(worked(exported, "whole"))
    shutil.rmtree(".state/resume")
    for step in (4, STEPS + 3):
        with pytest.raises(KeyboardInterrupt):
            interrupted(monkeypatch, lambda: worked(exported), step)
    seen = list[int]()
    real = Trainer._step
    monkeypatch.setattr(Trainer, "_step", lambda self, *a: (seen.append(self.step), real(self, *a))[1])
    assert files(worked(exported)) == whole
    assert seen[0] == STEPS + 3  # not from the beginning


def test_other_weights_than_begun_with_begin_anew(exported, monkeypatch, net):
    exported["checkpoint"] = {"epochs": 1, "seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        interrupted(monkeypatch, lambda: worked(exported), 4)
    Path("runs/quick/train/deps-0/supernet.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match=r"supernet\.safetensors"):
        worked(exported)


def test_a_supernet_that_is_newer_than_the_export_is_refused(exported, net):
    path = Path("runs/quick/export/deps-0/models.json")
    models = json.loads(path.read_text())
    models["small"]["weights"] = "sha256:0"
    path.write_text(json.dumps(models))
    with pytest.raises(UserError, match=r"export/deps-0/models\.json is of other weights than .*; run 'dvc repro'"):
        worked(exported)


def test_a_budget_without_an_arch_leaves_an_empty_list(exported, capsys):
    path = Path("runs/quick/export/deps-0/models.json")
    path.write_text(json.dumps({"large": json.loads(path.read_text())["large"]}))
    out = worked(exported)
    assert files(out) == {"models.json": b"{}\n"}
    assert "no arch under small; nothing to train" in capsys.readouterr().out
    assert results_of(exported, "quick").finetuned.empty


def test_the_file_says_what_it_was_trained_with(exported, data):
    out, name = worked(exported), "finetune-deps@small"
    facts = trained_with(out / "supernet.safetensors")
    assert {"dataset", "train", "methods.deps", "finetune", "seed"} <= set(facts)
    own = context(exported)
    assert (
        load_net(out / "supernet.safetensors", data, own, name).space
        == load_supernet(Path("runs/quick/train/deps-0/supernet.safetensors")).space
    )
    exported["experiments"]["quick"]["finetune"]["epochs"] = 3
    with pytest.raises(UserError, match="trained with another 'finetune'"):
        load_net(out / "supernet.safetensors", data, own, name)


def command(*arguments) -> dict:
    result = CliRunner().invoke(main, ["finetune", "quick", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_gives_the_stages_weights_and_looks_at_no_test_image(exported):
    """Under the stage's own conditions; the file differs only in what it says of test images."""
    out = worked(exported)
    model = json.loads((out / "models.json").read_text())["small-finetuned"]
    Path("runs/quick/prepare/test.safetensors").unlink()
    found = command("--arch", model["arch"])
    assert found["file"] == "quick-deps-357k-finetuned.onnx"
    assert (found["val_top1"], found["test_top1"]) == (model["val_top1"], None)
    assert found["gain"] == model["gain"]["validation"]
    costs = {"finetune/own_tmacs": found["own_tmacs"], "cost/train_tmacs": found["train_tmacs"]}
    assert costs == model["cost"]
    ours, theirs = (onnx.load(path).graph for path in (found["file"], out / model["file"]))
    assert ours == theirs
    assert [path.name for path in Path(".state/resume/quick/finetune").iterdir()] == ["deps-small-0"]  # of `worked`


def test_the_command_takes_other_epochs_teachers_and_formats(exported):
    arguments = ("--max-macs", "1M", "--epochs", 1, "--teacher", "full_model", "--format", "safetensors")
    found = command(*arguments, "--out", "m.safetensors")
    assert (found["finetuned"], found["format"]) == ("1 epoch with the full model as teacher", "safetensors")
    assert load(Path("m.safetensors"))[1].finetuned == found["finetuned"]
    text = CliRunner().invoke(main, ["finetune", "quick", "--arch", "smallest", "--epochs", "1"]).stdout
    assert "quick-deps-407k-finetuned.onnx: quick deps-0, 1 epoch on labels\n" in text
    assert " points" in text and "TMACs, " in text


def test_an_interrupted_command_goes_on(exported, monkeypatch):
    exported["checkpoint"] = {"epochs": 1, "seconds": 0}
    Path("params.yaml").write_text(json.dumps(exported))
    first = command("--arch", "smallest", "--out", "a.onnx")

    def run() -> None:
        assert CliRunner().invoke(main, ["finetune", "quick", "--arch", "smallest", "--out", "b.onnx"]).exit_code != 0

    interrupted(monkeypatch, run, STEPS + 2)
    assert not Path("b.onnx").exists()
    result = CliRunner().invoke(main, ["finetune", "quick", "--arch", "smallest", "--out", "b.onnx"])
    assert f"goes on after step {STEPS + 2}" in result.output
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    assert first["gain"]["points"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "nobody"], "experiments.quick.finetune.teacher is 'nobody'; "),
        (["--learning-rate-ratio", "0"], "experiments.quick.finetune.learning_rate_ratio is 0.0; expected above 0"),
        (["--arch", "huge"], "--arch is 'huge'; allowed: "),
        (["--arch", "smallest", "--max-macs", "3M"], "--max-macs, --max-latency-ms and --arch are alternatives"),
        (["--out", "m.txt"], "--out is m.txt; expected a file name that ends in .onnx"),
        (["--method", "nope"], "--method is 'nope'; allowed: "),
    ],
)
def test_refusals(exported, arguments, message):
    result = CliRunner().invoke(main, ["finetune", "quick", *arguments])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
    assert_one_line(result.stderr[:-1])
    assert not list(Path().glob("*.onnx"))
