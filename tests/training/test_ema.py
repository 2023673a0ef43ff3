"""`train.ema`: a moving average of the weights, beside a training that it does not change."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.evaluation.accuracy import accuracies, named_archs
from dεps.evaluation.assess import assess, print_assessment
from dεps.evaluation.inputs import recalibration
from dεps.nets.files import has_ema, load_supernet, save_supernet
from dεps.spaces.pareto import mean_pareto_accuracy
from dεps.training.config import TrainConfig
from dεps.training.run import describe
from dεps.training.snapshot import load_snapshot, write_snapshot
from dεps.workspace.decides import deciding
from dεps.workspace.outputs import METRICS, PARETO, POPULATION
from dεps.workspace.stage import Context
from pipelines import evaluate
from tests.conftest import quick_params
from tests.training.test_loop import CONFIG, DEPS, finish, same, trainer

AVERAGED = replace(CONFIG, ema=0.9)


def parameters(net) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def test_it_is_the_sum_of_all_weights_by_powers_of_the_decay(micro, data):
    run, seen = trainer(micro, data, AVERAGED, **DEPS, sort_channels=False), []
    run.on_step = lambda: seen.append(parameters(run.net))
    finish(run)
    assert run.averaged is not None
    for name, found in run.averaged.named_parameters():
        weights = torch.stack([step[name] for step in seen])
        shares = 0.1 * 0.9 ** torch.arange(len(seen) - 1, -1, -1, dtype=torch.float64)
        shares[0] *= 10  # the first update takes the weights as they are
        assert shares.sum() == pytest.approx(1)
        expected = torch.tensordot(shares, weights.double(), 1)
        torch.testing.assert_close(found.detach().double(), expected, atol=1e-6, rtol=1e-5)


def test_the_training_itself_is_the_same_to_the_bit(micro, data):
    plain, averaged = (finish(trainer(micro, data, config, **DEPS)) for config in (CONFIG, AVERAGED))
    assert all(torch.equal(one, averaged.net.state_dict()[name]) for name, one in plain.net.state_dict().items())
    assert plain.averaged is None
    own = [{key: value for key, value in record.items() if "val_ema/" not in key} for record in averaged.history]
    assert own == plain.history
    assert {"val_ema/smallest_top1", "val_ema/largest_top1"} <= averaged.history[-1].keys()
    assert "smallest of EMA" in describe(averaged.history[-1], averaged)


def test_what_is_validated_is_the_average(micro, data):
    run = finish(trainer(micro, data, AVERAGED, **DEPS))
    assert run.averaged is not None
    images = run._recalibration(CONFIG.validate_recalibration)
    rows = accuracies(run.averaged, list(micro.ends().values()), data, [data.validation], images)
    expected = {f"val_ema/{name}_top1": round(top1, 4) for name, (top1,) in zip(micro.ends(), rows, strict=True)}
    assert expected.items() <= run.history[-1].items()


@pytest.mark.parametrize("steps", [5, 11])
def test_an_interrupted_training_goes_on_to_the_same_bits(micro, data, tmp_path, steps):
    whole, begun = finish(trainer(micro, data, AVERAGED, **DEPS)), trainer(micro, data, AVERAGED, **DEPS)

    class StopError(Exception):
        pass

    def stop():
        if begun.step == steps:
            raise StopError

    begun.on_step = stop
    with pytest.raises(StopError):
        finish(begun)
    write_snapshot(tmp_path / "state", begun.snapshot())
    again = trainer(micro, data, AVERAGED, **DEPS)
    again.restore(load_snapshot(tmp_path / "state"))
    assert same(finish(again), whole)


def test_a_branch_has_the_trunks_average(micro, data):
    trunk = trainer(micro, data, AVERAGED)
    for record in trunk.run():
        if record["epoch"] == 2:
            state = trunk.snapshot()
            state.tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
            break
    else:
        raise AssertionError
    branch = trainer(micro, data, AVERAGED, **DEPS)
    branch.restore(state)
    assert same(finish(branch), finish(trainer(micro, data, AVERAGED, **DEPS)))


@pytest.mark.parametrize("method", [DEPS, {"method": "ofa"}])
def test_it_begins_anew_where_channels_change_places(micro, data, method):
    """Both sort channels when they begin to shrink: an average over other places would be of nothing."""
    run, entered = trainer(micro, data, AVERAGED, **method), []
    starts = {phase.start for phase in run.phases if phase.sort}
    assert starts

    def look():
        if run.step - 1 in starts:
            assert run.averaged is not None
            own = dict(run.net.named_parameters())
            entered.append(all(torch.equal(one, own[name]) for name, one in run.averaged.named_parameters()))

    run.on_step = look
    finish(run)
    assert entered == [True] * len(starts)


def test_the_file_has_both(micro, data, tmp_path):
    run = finish(trainer(micro, data, AVERAGED, **DEPS))
    assert run.averaged is not None
    save_supernet(run.net, tmp_path / "both.safetensors", averaged=run.averaged)
    save_supernet(run.net, tmp_path / "raw.safetensors")
    raw, averaged = (load_supernet(tmp_path / "both.safetensors", ema) for ema in (False, True))
    for found, own in ((raw, run.net), (averaged, run.averaged)):
        assert all(torch.equal(one, parameters(own)[name]) for name, one in parameters(found).items())
    assert (has_ema(tmp_path / "both.safetensors"), has_ema(tmp_path / "raw.safetensors")) == (True, False)
    with pytest.raises(UserError, match=r"raw\.safetensors has no moving averages .* train\.ema such as 0\.999"):
        load_supernet(tmp_path / "raw.safetensors", ema=True)


def test_a_file_without_some_averages_is_damaged(micro, data, tmp_path):
    run = finish(trainer(micro, data, AVERAGED, **DEPS))
    save_supernet(run.net, tmp_path / "both.safetensors", averaged=run.averaged)
    with safe_open(tmp_path / "both.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    lost = next(name for name in tensors if name.startswith("ema."))
    save_file({name: one for name, one in tensors.items() if name != lost}, tmp_path / "both.safetensors", metadata)
    with pytest.raises(UserError, match=f"no moving average of '{lost.removeprefix('ema.')}'"):
        load_supernet(tmp_path / "both.safetensors", ema=True)
    load_supernet(tmp_path / "both.safetensors")


def test_without_it_results_are_what_they_were(micro, data):
    own = quick_params()["experiments"]["quick"]
    before = {**own, "train": {key: value for key, value in own["train"].items() if key != "ema"}}
    assert own["train"]["ema"] == 0.0
    assert deciding(own) == deciding(before)
    averaged = {**own, "train": own["train"] | {"ema": 0.9}}
    assert deciding(averaged)["train"]["ema"] == 0.9


@pytest.mark.parametrize("ema", [-0.1, 1.0])
def test_a_decay_that_is_none_is_refused(ema):
    with pytest.raises(UserError, match="ema"):
        structured(TrainConfig, {"ema": ema}, "train")


def test_stage_evaluate_measures_pareto_points_of_both(micro, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    params = quick_params()
    quick = params["experiments"]["quick"]
    own = {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": "images"}
    quick["dataset"] |= own
    quick["evaluate"] |= {"recalibration_images": 48, "population": {"buckets": 2, "per_bucket": 2}}
    structured(DatasetConfig, quick["dataset"], "dataset")
    run = finish(trainer(micro, data, AVERAGED, **DEPS))
    Path("runs/quick/train/deps-0").mkdir(parents=True)
    Path("runs/quick/evaluate/deps-0").mkdir(parents=True)
    Path("runs/quick/prepare").symlink_to(data.folder)
    save_supernet(run.net, Path("runs/quick/train/deps-0/supernet.safetensors"), averaged=run.averaged)
    context, out = Context("evaluate", "quick", "deps", 0, params), Path("runs/quick/evaluate/deps-0")
    evaluate.work(context, out)
    points, metrics = PARETO.read(out), read_json(out / METRICS, "it")
    averaged = load_supernet("runs/quick/train/deps-0/supernet.safetensors", ema=True)
    images, archs = recalibration(context, data, 48), list(named_archs(micro).values())
    rows = accuracies(averaged, archs, data, [data.validation, data.test], images)
    assert points[["ema_val_top1", "ema_test_top1"]].values.tolist() == [[round(x, 4) for x in row] for row in rows]
    shown = points[points.pareto]
    expected = mean_pareto_accuracy(shown.macs.tolist(), shown.ema_test_top1.tolist())
    assert metrics["pareto/ema_mean_top1"] == round(expected, 4)
    assert "ema_test_top1" not in POPULATION.read(out)
    assert pd.to_numeric(points.test_top1).notna().all()

    path = Path("runs/quick/train/deps-0/supernet.safetensors")
    params |= {"names": ["quick"]}
    plain, other = (assess(path, params, archs=["smallest"], ema=ema) for ema in (False, True))
    assert (plain.ema, other.ema) == (False, True)
    assert json.loads(other.to_json())["ema"] is True
    print_assessment(other)
    assert "moving average of the weights, on quick" in capsys.readouterr().out
