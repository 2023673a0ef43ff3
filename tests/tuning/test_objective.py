import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dεps.core.errors import UserError
from dεps.methods.full_model import Options, build
from dεps.planning.check import compose_params
from dεps.spaces.cost import macs_counter
from dεps.training import run as runner
from dεps.training.loop import Trainer
from dεps.tuning import objective
from dεps.tuning.worker import tune as tune_command
from dεps.workspace.stage import Context
from pipelines import evaluate, full_model, train, tune
from tests.conftest import QUICK, ROOT

OVERRIDES = [
    *QUICK,
    "dataset@experiments.quick.dataset=image_folder",
    *(f"experiments.quick.dataset.{key}" for key in ("name=drawn", "root=unused", "image_size=28", "channels=1")),
    "experiments.quick.methods.deps.kernels=[5]",  # a part of the space: trials are held to it too
    "experiments.quick.train.batch_size=32",
    "experiments.quick.train.validate_recalibration=40",
    "experiments.quick.evaluate.recalibration_images=40",
    "experiments.quick.evaluate.population={buckets: 1, per_bucket: 1}",
    "experiments.quick.tuning.trials=5",
    "experiments.quick.tuning.confirm_seeds=[1]",
    "experiments.quick.tuning.startup_trials=3",
    "experiments.quick.tuning.points=[{shrink_start: 0.75, distill: false}]",
    "seeds=[0]",
]


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    """A workspace with data and trunk."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(data.folder, folder / "runs/quick/prepare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = compose_params(OVERRIDES, ROOT / "params", folder / "params.yaml")
        stage(full_model, Context("full_model", "quick", None, 0, params))
    return folder


@pytest.fixture
def workspace(prepared, tmp_path, monkeypatch):
    """A copy to write in."""
    shutil.copytree(prepared, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.delenv("DEPS_STUDY_STORAGE", raising=False)
    return yaml.safe_load(Path("params.yaml").read_text())


def stage(module, context):
    out = context.folder(context.stage)
    out.mkdir(parents=True)
    module.work(context, out)
    return out


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_trial_gives_what_the_stages_give(workspace):
    out = stage(tune, Context("tune", "quick", params=workspace))
    trials = pd.read_csv(out / "trials.csv")
    assert len(trials) == 5
    best = trials[trials.best].iloc[0]
    params = compose_params([*OVERRIDES, f"+from={out / 'best.yaml'}"], ROOT / "params", Path("params.yaml"))
    options = params["experiments"]["quick"]["methods"]["deps"]
    assert options["shrink_start"] == best.shrink_start
    # The study stays as it is.
    assert params["experiments"]["quick"]["tuning"] == workspace["experiments"]["quick"]["tuning"]
    given = trials[trials.point != ""].iloc[1]
    changes = [f"experiments.quick.methods.deps.{change}" for change in ("shrink_start=0.75", "distill=false")]
    other = compose_params([*OVERRIDES, *changes], ROOT / "params", Path("params.yaml"))
    for row, chosen in ((best, params), (given, other)):
        for made in ("train", "evaluate"):
            shutil.rmtree(f"runs/quick/{made}", ignore_errors=True)
        trained = stage(train, Context("train", "quick", "deps", 0, chosen))
        measured = stage(evaluate, Context("evaluate", "quick", "deps", 0, chosen))
        metrics = yaml.safe_load((measured / "metrics.json").read_text())
        assert metrics["pareto/mean_val_top1"] == row.val_top1
        points, same = pd.read_csv(out / "points.csv"), pd.read_csv(measured / "pareto.csv")
        own, same = points[points.trial == row.trial], same[same.pareto]
        assert own[["name", "macs", "val_top1"]].to_numpy().tolist() == same[list(own.columns[1:])].to_numpy().tolist()
        assert yaml.safe_load((trained / "summary.json").read_text())["cost/train_tmacs"] == row.train_tmacs


@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_stage_gives_the_same_tables(workspace, monkeypatch, after):
    context = Context("tune", "quick", params=workspace)
    whole = tables(stage(tune, context))
    shutil.rmtree(".state")
    shutil.rmtree("runs/quick/tune")
    saved = []

    def after_epoch(saver):
        saved.append(saver.folder)
        real(saver)
        if len(saved) == after:
            raise KeyboardInterrupt

    real = objective.Saver.after_epoch
    monkeypatch.setattr(objective.Saver, "after_epoch", after_epoch)
    with pytest.raises(KeyboardInterrupt):
        stage(tune, context)
    shutil.rmtree("runs/quick/tune")
    epochs = pd.read_csv(pd.io.common.BytesIO(whole["trials.csv"])).epochs.sum()
    assert tables(stage(tune, context)) == whole
    trained = [folder for folder in saved if folder.parent.name.startswith("trial-")]  # others confirm the best trial
    assert len(trained) == epochs  # no epoch was trained twice
    assert not list(Path(".state").rglob("trial-*"))


def test_confirming_goes_on_and_needs_no_trunk(workspace, monkeypatch):
    """Accuracies are those of stages `train` and `evaluate` on that seed, from a trunk, from one made here, or none."""
    own = workspace["experiments"]["quick"]
    own["tuning"] |= {"trials": 1, "confirm_seeds": [1]}
    options = {**own["tuning"]["base"], "shrink_start": 0.75}
    pair = [own["tuning"]["base"], options]
    phase = objective.ShrinkPhase(Context("tune", "quick", params=workspace))
    real, saved = objective.Saver.after_epoch, []

    def interrupted(saver):
        saved.append(saver)
        real(saver)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(objective.Saver, "after_epoch", interrupted)
        list(phase.again(1, pair))
    found = [outcome.accuracy for outcome in phase.again(1, pair)]
    per_epoch = phase.setup.steps_per_epoch  # a state after an epoch has the number of twice its steps and one
    kept = sorted(int(path.name[:12]) for path in Path(phase.plan.state, "seed-1/kept").iterdir())
    assert kept == [2 * epoch * per_epoch + 1 for epoch in (2, 3)]
    for method, accuracy in zip(pair, found, strict=True):
        params = {**workspace, "experiments": {"quick": {**own, "methods": {"deps": method}}}}
        stage(train, Context("train", "quick", "deps", 1, params))
        measured = stage(evaluate, Context("evaluate", "quick", "deps", 1, params))
        assert yaml.safe_load((measured / "metrics.json").read_text())["pareto/mean_val_top1"] == accuracy
        shutil.rmtree("runs/quick/train")
        shutil.rmtree("runs/quick/evaluate")


def test_the_command_goes_on_where_the_stage_stops(workspace, capsys):
    tune_command("quick", 1, 3, None)
    assert "trials: 3" in capsys.readouterr().out
    whole = tables(stage(tune, Context("tune", "quick", params=workspace)))
    shutil.rmtree(".state")
    shutil.rmtree("runs/quick/tune")
    assert tables(stage(tune, Context("tune", "quick", params=workspace))) == whole


def test_a_trunk_of_other_params_or_none_is_refused(workspace):
    """Trials would be of it, or each train the full model anew, and `dvc repro` would believe them."""
    workspace["experiments"]["quick"]["train"]["learning_rate"] = 0.05
    Path("params.yaml").write_text(yaml.dump(workspace))
    trunk = "runs/quick/full_model/0/trunk"
    other = f"{trunk} is of other params or data than params.yaml names; 'dvc repro full_model@quick-0' makes it anew"
    with pytest.raises(UserError, match=f"^{re.escape(other)}$"):
        tune_command("quick", 1, 3, None)
    Path(trunk, "epoch-0001.safetensors").unlink()
    gone = f"{trunk}/epoch-0001.safetensors does not exist; 'dvc repro full_model@quick-0' makes it"
    with pytest.raises(UserError, match=f"^{re.escape(gone)}$"):
        tune_command("quick", 1, 3, None)


def test_other_kept_epochs_begin_the_trunk_anew(workspace, monkeypatch):
    """What has passed was not kept: an interrupted trunk cannot go on for a later choice of epochs."""
    shutil.rmtree("runs/quick/full_model")
    workspace["experiments"]["quick"]["full_model"]["keep"] = [0.75]
    real = runner.Saver.after_epoch

    def interrupted(saver):
        real(saver)
        if len(saver.trainer.history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner.Saver, "after_epoch", interrupted)
        stage(full_model, Context("full_model", "quick", None, 0, workspace))
    shutil.rmtree("runs/quick/full_model")
    workspace["experiments"]["quick"]["full_model"]["keep"] = [0.25]
    out = stage(full_model, Context("full_model", "quick", None, 0, workspace))
    assert sorted(path.stem for path in (out / "trunk").iterdir()) == ["epoch-0001", "epoch-0004"]


def test_no_trials_is_no_study(workspace):
    workspace["experiments"]["quick"]["tuning"]["trials"] = 0
    out = stage(tune, Context("tune", "quick", params=workspace))
    assert len(pd.read_csv(out / "trials.csv")) == 0
    assert yaml.safe_load((out / "best.yaml").read_text()) == {}
    assert yaml.safe_load((out / "summary.json").read_text()) == {"tune/trials": 0}
    with pytest.raises(UserError, match=r"experiments\.quick\.tuning\.trials is 0; give --trials, or set it"):
        Path("params.yaml").write_text(yaml.dump(workspace))
        tune_command("quick", 1, None, None)


def test_unusable_storage_starts_nothing(workspace):
    with pytest.raises(UserError, match=r"no database URL"):
        tune_command("quick", 4, 3, "nonsense")
    assert not Path(".state/tune").exists() or not list(Path(".state/tune").rglob("*.lock"))


@pytest.mark.parametrize("resolution", [[28], [16, 20, 24, 28]])
def test_the_unit_of_a_limit_is_what_the_full_model_costs(workspace, resolution):
    """Where batches have several sizes, less than at the largest: what the trainer counts."""
    own = workspace["experiments"]["quick"]
    own["space"]["resolution"] = resolution
    phase = objective.ShrinkPhase(Context("tune", "quick", params=workspace))
    at_largest = macs_counter(phase.space, len(phase.data.classes), 1)(phase.space.largest())
    trunk = build(Options(), phase.setup)
    trainer = Trainer(phase.space, phase.data, replace(phase.train, validate_every=99), trunk, 0)
    list(trainer.run())
    assert phase.full_model_tmacs() == pytest.approx(trainer.macs / 1e12, rel=1e-12)
    share = phase.full_model_tmacs() * 1e12 / (trainer.total_steps * 32 * 3 * at_largest)
    assert share == 1.0 if len(resolution) == 1 else share < 0.8


def test_a_studys_name_depends_on_params_and_data(workspace):
    def name(**changes):
        own = workspace["experiments"]["quick"]
        params = {**workspace, "experiments": {"quick": {**own, **changes}}}
        return objective.ShrinkPhase(Context("tune", "quick", params=params)).plan.name

    own = workspace["experiments"]["quick"]
    base = name()
    trunk = next(Path("runs/quick/full_model/0/trunk").iterdir())
    before = trunk.read_bytes()
    trunk.write_bytes(before + b"of other code")
    assert name() != base
    trunk.write_bytes(before)
    assert name(tuning={**own["tuning"], "trials": 9}) == base
    assert name(reference={}, search={}) == base
    workspace["portable"] = True
    assert name() != base
    del workspace["portable"]
    assert name() == base
    assert name(tuning={**own["tuning"], "sampler_seed": 1}) != base
    assert name(train={**own["train"], "learning_rate": 0.05}) != base
    assert name(evaluate={**own["evaluate"], "recalibration_images": 60}) != base
