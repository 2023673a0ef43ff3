from pathlib import Path

import pytest

from dεps.core.tables import matching, records
from dεps.report.study import _pairs, alike
from dεps.report.tables import study_caption
from tests.tuning.tables import write_study
from tests.tuning.toy import BASE


@pytest.mark.parametrize(
    ("points", "pairs"),
    [
        ([{"random_subnets": 1, "ramp_epochs": 0.0}], []),
        ([{"kernels": [5], "ramp_epochs": 0.0}, {"ramp_epochs": 0.0}], [("base", "ramp_epochs 0")]),
        (
            [{"kernels": [5]}, {"kernels": [5], "ramp_epochs": 0.0}],
            [("kernels [5]", "kernels [5], ramp_epochs 0")],
        ),
    ],
)
def test_a_pair_differs_in_one_option_of_all(results, tmp_path, points, pairs):
    write_study(tmp_path / "study", Path("runs/quick/tune"), points=points, trials=3, base=BASE)
    found = _pairs(results, "ramp_epochs", 0.0)
    assert [tuple(trial["point"] for trial in pair) for pair in found] == pairs


def test_trials_are_alike_by_options_alone(study):
    base, other = (records(matching(study.trials, point=name))[0] for name in ("base", "ramp_epochs 0"))
    assert base["val_top1"] != other["val_top1"]
    assert not alike(base, other, [])
    assert alike(base, other, ["ramp_epochs"])


def test_a_dearer_trial_that_is_more_accurate_is_named(study):
    assert "× as much" not in study_caption(study)
    table = study.trials.copy()
    best = int(table.index[table.best][0])
    dearer = next(number for number in table.index if number != best and table.state[number] == "complete")
    table.loc[best, ["train_tmacs", "val_top1"]] = 2.0, 80.0
    table.loc[dearer, ["train_tmacs", "val_top1"]] = 3.0, 99.0
    study.__dict__["trials"] = table
    words = f"trial {dearer}, which costs 1.50 × as much and was not measured again, had 99.00 % for 80.00 %; "
    assert words in study_caption(study)
