from random import Random

import pandas as pd
import pytest
import yaml

from dεps.core.tables import records
from dεps.tuning.config import SEARCHED as SEARCHED_OPTIONS
from dεps.tuning.draw import POINT
from dεps.tuning.outputs import finished_trials, importances
from dεps.tuning.storage import open_storage
from dεps.tuning.study import OPTIONS, open_study
from dεps.workspace.outputs import TRIALS
from tests.tuning.tables import write_study
from tests.tuning.toy import BASE, config, plan


def trials(*changes: dict) -> pd.DataFrame:
    """Complete trials, each the base but for what is given; accuracy depends on shrink start, and on distillation."""
    frame = pd.DataFrame([BASE | change for change in changes]).assign(state="complete")
    top1 = 80.0 - 4 * abs(frame.shrink_start - 0.5) - 10 * ~frame.distill
    return frame.assign(val_top1=top1, train_tmacs=2 - frame.shrink_start)


SEARCHED = [
    {},
    {"shrink_start": 0.25},
    {"shrink_start": 0.75},
    {"ramp_epochs": 0.0},
    {"ramp_epochs": 2.0, "epsilon": 0.3},
    {"shrink_start": 0.75, "epsilon": 0.1, "temperature": 2.0},
]


def test_what_is_not_searched_is_not_laid_to_the_options():
    """Learning from labels costs ten points, at the base's own options."""
    own = importances(trials(*SEARCHED), config()).set_index("option")
    assert own.accuracy.idxmax() == "shrink_start"
    assert own.accuracy.sum() == pytest.approx(1.0)
    with_labels = trials(*SEARCHED, {"shrink_start": 0.25, "distill": False}, {"ramp_epochs": 0.0, "distill": False})
    pd.testing.assert_frame_equal(importances(with_labels, config()).set_index("option"), own)
    assert own.trials.tolist() == [len(SEARCHED)] * 4
    assert importances(trials(*SEARCHED[:3], *[{"distill": False}] * 5), config()).empty


def test_a_length_that_constant_ramps_do_not_have_has_no_importance():
    """Accuracy follows from the shape alone, and only constant ramps stand in the table with base's rare length."""
    rng = Random(0)
    rows = []
    for number in range(40):
        own = {"ramp_shape": ["linear", "cosine", "exponential", "step", "constant"][number % 5]}
        own["ramp_epochs"] = 0.5 if own["ramp_shape"] == "constant" else rng.randint(2, 40) / 2
        rows.append({**own, "epsilon": rng.uniform(0.05, 0.5), "shrink_start": rng.choice([0.25, 0.5, 0.75])})
    table = trials(*rows).assign(val_top1=[60.0 if one["ramp_shape"] == "constant" else 70.0 for one in rows])
    found = importances(table, config(points=[])).set_index("option").accuracy
    assert found.ramp_epochs < 0.001
    assert found.ramp_shape > 0.98
    same = table.assign(ramp_epochs=table.ramp_epochs.where(table.ramp_shape != "constant", 17.0))
    pd.testing.assert_frame_equal(importances(same, config(points=[])), importances(table, config(points=[])))


def test_constant_ramps_alone_have_no_length_to_explain():
    rows = [{"ramp_shape": "constant", "epsilon": 0.1 * number, "ramp_epochs": number} for number in range(1, 7)]
    assert importances(trials(*rows), config(points=[])).option.tolist() == ["epsilon"]


def test_what_is_written_of_a_trial_is_what_it_trained_with(tmp_path):
    """Numbers that are drawn have six digits; base's and points' may have any, and are written to the last bit."""
    base, point = {**BASE, "temperature": 85 / 180}, {"shrink_start": 95 / 180, "epsilon": 1 / 3}
    write_study(tmp_path, tmp_path / "out", base=base, points=[point], trials=12)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    own = plan(tmp_path, base=base, points=[point], trials=12)
    found = finished_trials(open_study(own, open_storage(url)), 12)
    for row, trial in zip(records(TRIALS.read(tmp_path / "out")), found, strict=True):
        options = trial.user_attrs[OPTIONS]
        assert {name: row[name] for name in SEARCHED_OPTIONS} == {name: options[name] for name in SEARCHED_OPTIONS}
    assert found[0].user_attrs[OPTIONS]["temperature"] == 85 / 180
    assert found[1].user_attrs[OPTIONS]["epsilon"] == 1 / 3
    drawn = [trial for trial in found if POINT not in trial.user_attrs]
    assert len(drawn) == 10
    for trial in drawn:
        value = trial.user_attrs[OPTIONS]["temperature"]
        assert value == float(f"{value:.6g}") == pytest.approx(trial.params["temperature"], rel=1e-5)
    (best,) = yaml.safe_load((tmp_path / "out/best.yaml").read_text())["experiments"].values()
    table = TRIALS.read(tmp_path / "out")
    (row,) = records(table[table.best])
    method = best["methods"]["deps"]
    assert method.keys() == BASE.keys() - {"method"}
    assert all(row.get(name, base[name]) == value for name, value in method.items())
    assert best["tuning"]["base"] == base


@pytest.mark.parametrize("kernels", [[5], None])
def test_a_base_may_hold_a_list_that_a_point_changes(tmp_path, kernels):
    """As the published recipe's kernels of 7: the point is no trial that importances are of."""
    base = {**BASE, "kernels": kernels}
    write_study(tmp_path, tmp_path / "out", base=base, points=[{"kernels": [3, 5], "ramp_epochs": 0.0}])
    table = pd.read_csv(tmp_path / "out/trials.csv")
    assert table.kernels.fillna("none").tolist() == [str(kernels or "none"), "[3, 5]"] + [str(kernels or "none")] * 6
    like_base = pd.DataFrame([{**base, **SEARCHED[number % 6]} for number in range(12)]).assign(distill=True)
    like_base = like_base.assign(state="complete", val_top1=80 - like_base.shrink_start, train_tmacs=1.0)
    own = config(base=base, points=[{"kernels": [3, 5]}])
    others = like_base.assign(kernels=[[3, 5]] * 12, val_top1=0.0)
    found = importances(pd.concat([like_base, others], ignore_index=True), own)
    pd.testing.assert_frame_equal(found, importances(like_base, own))
    assert found.set_index("option").accuracy.idxmax() == "shrink_start"
    assert importances(like_base.head(0), own).empty


def test_importances_are_the_same_of_a_file_that_was_read(tmp_path):
    """A published study has files alone: lists there are text, costs have six digits."""
    base, point = {**BASE, "kernels": None}, {"kernels": [3, 5]}
    write_study(tmp_path, tmp_path / "out", base=base, points=[point], trials=12)
    written = pd.read_csv(tmp_path / "out/importance.csv")
    found = importances(TRIALS.read(tmp_path / "out"), config(base=base, points=[point]))
    assert written.trials.tolist() == found.trials.tolist() == [11] * len(found)
    pd.testing.assert_frame_equal(found.round(4), written)


def test_shares_are_of_all_variance():
    """Of y = a b, a and b by themselves explain less than all."""
    rows = [
        {"temperature": 1.0 + number % 5, "epsilon": (number // 5) / 5, "val_top1": 0.0, "train_tmacs": 1.0}
        for number in range(25)
    ]
    for row in rows:
        row["val_top1"] = 50 + 10 * (row["temperature"] - 3) * (row["epsilon"] - 0.4)
    found = importances(trials(*rows), config(points=[]))
    assert found.accuracy.sum() < 0.5
    assert (found.cost == 0).all()
