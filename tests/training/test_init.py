"""Trainings that begin with the weights of a file (`train.init`): what they begin with, resume, branch and refuse."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dεps.core.errors import UserError
from dεps.core.hashing import file_sha256
from dεps.core.params import read_params
from dεps.evaluation.inputs import load_data, load_net
from dεps.methods.registry import method
from dεps.nets.files import load_supernet, save_supernet
from dεps.nets.supernet import Supernet
from dεps.planning.check import check_params, compose_params
from dεps.spaces.space import SearchSpace
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.workspace.identity import FULL_MODEL, run_identity
from dεps.workspace.stage import Context
from pipelines import train
from tests.conftest import ROOT
from tests.tools.refusals import files
from tests.training.test_loop import CONFIG, DEPS, finish, same, trainer
from tests.training.test_run import SMALL, interrupted, trained
from tests.tuning.test_objective import OVERRIDES

INIT = "experiments.quick.train.init"


def supernet(space: SearchSpace, path: Path, classes: int, seed: int, channels: int = 1) -> Path:
    save_supernet(Supernet(space, classes, channels, True, seed), path)
    return path


def test_a_training_begins_with_the_files_weights_and_its_own_classifier(micro, data, tmp_path):
    path = supernet(micro, tmp_path / "a.safetensors", 100, 7)
    run, scratch = (trainer(micro, data, replace(CONFIG, init=init), **DEPS) for init in (str(path), None))
    theirs = load_supernet(path).state_dict()
    for name, tensor in run.net.state_dict().items():
        taken = scratch.net.state_dict()[name] if name.startswith("classifier") else theirs[name]
        assert torch.equal(tensor, taken), name
    assert not any(run._momentum(parameter).any() for parameter in run.net.parameters())
    assert "has 100 classes, the data 4" in run.begins
    assert scratch.begins == ""


@pytest.mark.parametrize("name", ["deps", "ofa"])
def test_a_branch_of_the_trunk_is_the_method_trained_from_the_file_on(micro, data, tmp_path, name):
    """OFA's kernel transformations, which the trunk has not, are the file's too."""
    net = Supernet(micro, 100, 1, True, 7)
    for name, tensor in net.state_dict().items():
        tensor.add_(0.01 if "transforms" in name else 0.0)
    save_supernet(net, tmp_path / "a.safetensors")
    config = replace(CONFIG, epochs=2, teacher_recalibration=40, init=str(tmp_path / "a.safetensors"))
    options = DEPS if name == "deps" else {"method": "ofa", "epochs_ratio": 0.5}
    trunk = trainer(micro, data, config)
    branch, whole = trainer(micro, data, config, **options), trainer(micro, data, config, **options)
    for _ in trunk.run(branch.method.trunk_steps):
        pass
    branch.restore(trunk.snapshot())
    assert same(finish(branch), finish(whole))


# --- in the pipeline ----------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(data, micro, tmp_path, monkeypatch) -> Path:
    """A workspace with data, whose training begins from `a.safetensors`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data.folder, "runs/quick/prepare")
    supernet(micro, Path("a.safetensors"), 100, 7)
    compose("a.safetensors")
    return tmp_path


def compose(init: str, *more: str) -> dict:
    overrides = [*OVERRIDES, "checkpoint.seconds=0", *SMALL, f"{INIT}={init}", *more]
    return compose_params(overrides, ROOT / "params", Path("params.yaml"))


def test_composing_names_the_files_content(workspace):
    params = read_params()
    assert params["experiments"]["quick"]["train"]["init_sha256"] == file_sha256(Path("a.safetensors"))
    check_params(params)
    before = Path("params.yaml").read_text()
    compose("a.safetensors", f"experiments.quick.train.init_sha256={file_sha256(Path('a.safetensors'))}")
    assert Path("params.yaml").read_text() == before


def test_a_killed_training_goes_on_to_the_same_bytes(workspace, monkeypatch, capsys):
    whole = files(trained())
    assert "full_model quick 0: begins from a.safetensors: all weights but" in capsys.readouterr().out
    shutil.rmtree(".state")
    interrupted(monkeypatch, 5)
    capsys.readouterr()
    assert files(trained()) == whole
    out = capsys.readouterr().out
    assert "goes on after step 5" in out
    assert "begins from" not in out
    compose("null")
    assert files(trained())["supernet.safetensors"] != whole["supernet.safetensors"]


def test_another_file_is_refused_and_with_new_params_starts_anew(workspace, micro, monkeypatch, capsys):
    interrupted(monkeypatch, 3)
    supernet(micro, Path("a.safetensors"), 100, 8)
    with pytest.raises(UserError, match=r"train\.init: a\.safetensors is another file than init_sha256 names \(SHA"):
        trained()
    with pytest.raises(UserError, match=r"^experiments\.quick\.train\.init: a\.safetensors is another file than"):
        check_params(read_params())
    compose("a.safetensors")
    capsys.readouterr()
    trained()
    assert "starts anew; what was unfinished had other parameters" in capsys.readouterr().out


def test_a_trunk_from_another_file_is_not_branched_from(workspace, micro):
    trained()
    supernet(micro, Path("b.safetensors"), 100, 8)
    params = compose("b.safetensors")
    context = Context("train", "quick", "deps", 0, params)
    with pytest.raises(UserError, match="is of other params or data than params"):
        train.work(context, Path("out"))


def test_a_moved_file_is_the_same_training(workspace, micro, data):
    """Its trunk is branched from, and its supernet evaluated: what decides is the content."""
    before = read_params()
    trained()
    Path("elsewhere").mkdir()
    shutil.move("a.safetensors", "elsewhere/b.safetensors")
    params = compose("elsewhere/b.safetensors")
    context = Context("train", "quick", "deps", 0, params)
    assert context.work_key() == Context("train", "quick", "deps", 0, before).work_key()
    train.work(context, context.folder("train"))
    path = context.folder("train") / "supernet.safetensors"
    load_net(path, load_data(context), context)
    one, other = (run_identity(own, "quick", "deps", 0, data.manifest) for own in (before, params))
    assert one == other
    assert "elsewhere" not in str(other)
    assert other.params["train.init_sha256"] == params["experiments"]["quick"]["train"]["init_sha256"]
    scratch = compose("null")
    assert run_identity(scratch, "quick", "deps", 0, data.manifest).digest != one.digest
    with pytest.raises(UserError, match="was trained with another 'train'"):
        load_net(path, load_data(context), replace(context, params=scratch))


def test_results_without_a_file_are_those_of_before_there_was_the_choice(workspace, data):
    """Published seeds, kept trunks and MLflow's runs stay theirs."""
    params = compose("null")
    old = compose("null")
    for key in ("init", "init_sha256"):
        del old["experiments"]["quick"]["train"][key]
    assert run_identity(params, "quick", "deps", 0, data.manifest) == run_identity(
        old, "quick", "deps", 0, data.manifest
    )
    keys = {Context(FULL_MODEL, "quick", None, 0, own).work_key() for own in (params, old)}
    assert len(keys) == 1


def test_params_that_name_no_file_are_refused(workspace, tmp_path):
    with pytest.raises(UserError, match=r"^experiments\.quick\.train\.init: gone cannot be read \(No such file"):
        compose("gone")
    with pytest.raises(UserError, match=r"^experiments\.quick\.train\.init: runs is no file"):
        compose("runs")
    with pytest.raises(UserError, match=r"init_sha256 is set; expected init too"):
        compose("null", f"experiments.quick.train.init_sha256={'0' * 64}")
    with pytest.raises(UserError, match=r"init_sha256.*64 hexadecimal digits"):
        compose("a.safetensors", "experiments.quick.train.init_sha256=abc")
    params = read_params()
    params["experiments"]["quick"]["train"]["init_sha256"] = None
    with pytest.raises(UserError, match="init_sha256 is null, where init is a file; 'deps params' fills it in"):
        check_params(params)


def test_from_python_a_path_is_enough(micro, data, tmp_path):
    path = supernet(micro, tmp_path / "a.safetensors", 4, 7)
    config = TrainConfig(epochs=1, batch_size=32, validate_recalibration=40, init=str(path))
    run = Trainer(micro, data, config, method("deps", shrink_start=0.5, ramp_epochs=0.5))
    assert torch.equal(run.net.classifier.weight, load_supernet(path).classifier.weight)
