from random import Random

import pandas as pd
import pytest

from dεps.tuning.outputs import importances
from tests.tuning.tables import write_study
from tests.tuning.toy import BASE, config


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
