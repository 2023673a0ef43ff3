import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml

from dεps.tuning.confirm import confirm, confirmation_table
from dεps.tuning.storage import open_storage
from dεps.tuning.study import OPTIONS, open_study, work
from dεps.tuning.verdict import paired_gain, verdict
from tests.tuning.tables import write_study
from tests.tuning.toy import BASE, again, objective, plan

#: a point that beats base by 0.5 on the seed that chooses
POINTS = {"points": [{"ramp_epochs": 1.0}], "trials": 2}


def made(folder, **changes):
    own = plan(folder, **{**POINTS, **changes})
    study = open_study(own, open_storage(f"sqlite:///{folder / 'study.db'}"))
    work(own, study, objective(), own.config.trials)
    return own, study


def test_a_gain_is_paired_by_seed_and_has_students_interval():
    best, default = [81.0, 82.5, 80.0, 83.0], [80.5, 81.0, 80.2, 81.0]
    found = paired_gain(best, default)
    low, high = scipy.stats.ttest_rel(best, default).confidence_interval(0.95)
    assert found == pytest.approx((np.mean(np.subtract(best, default)), low, high), abs=1e-4)
    assert paired_gain([81.0], [80.0]) == (1.0, None, None)
    assert paired_gain([81.0, 81.0], [80.0, 80.0]) == (1.0, 1.0, 1.0)


OWN = {
    "tune/best_is_default": 0,
    "tune/gain_points_on_its_own_seed": 2.0,
    "tune/best_train_tmacs": 1.5,
    "tune/default_train_tmacs": 1.5,
}


@pytest.mark.parametrize(
    ("gains", "text"),
    [
        ([], "undecided whether the best trial is better than the default: not measured on other seeds; "),
        ([1.0], "undecided whether the best trial is better than the default: +1.00 points on 1 other seed, too few; "),
        ([1.0, -1.0], "undecided whether the best trial is better: +0.00 [-12.71, +12.71] points on 2 other seeds "),
        ([1.0, 1.1, 1.2], "the best trial is better than the default: +1.10 [+0.85, +1.35] points on 3 other seeds "),
        ([-1.0, -1.1, -1.2], "the best trial is worse than the default: -1.10 [-1.35, -0.85] points on 3 other seeds "),
    ],
)
def test_only_other_seeds_make_a_trial_better(gains, text):
    summary = {**OWN, "tune/confirmed_seeds": len(gains)}
    if gains:
        mean, low, high = paired_gain(gains, [0.0] * len(gains))
        summary["tune/gain_points"] = mean
        if low is not None:
            summary |= {"tune/gain_points_low": low, "tune/gain_points_high": high}
    said = verdict(summary)
    assert said.startswith(text)
    assert said.endswith("; +2.00 on the seed it was chosen by")
    assert said.startswith("the best trial is better than") == (gains == [1.0, 1.1, 1.2])


@pytest.mark.parametrize(
    ("gains", "text"),
    [
        ([], "undecided whether the best trial is better than the default at 1.17 × its cost: not measured on other "),
        ([1.0], "undecided whether the best trial is better than the default at 1.17 × its cost: +1.00 points on 1 "),
        ([1.0, -1.0], "undecided whether the best trial is better than the default at 1.17 × its cost: +0.00 [-12.71"),
        ([1.0, 1.1, 1.2], "the best trial is better than the default at 1.17 × its cost: +1.10 [+0.85, +1.35] points"),
        ([-1.0, -1.1, -1.2], "the best trial is worse than the default at 1.17 × its cost: -1.10 [-1.35, -0.85] poi"),
    ],
)
def test_another_cost_is_said(gains, text):
    summary = {**OWN, "tune/best_train_tmacs": 1.75, "tune/confirmed_seeds": len(gains)}
    if gains:
        found = paired_gain(gains, [0.0] * len(gains))
        names = ("gain_points", "gain_points_low", "gain_points_high")
        summary |= {f"tune/{name}": value for name, value in zip(names, found, strict=True) if value is not None}
    assert verdict(summary).startswith(text)


def test_the_best_under_a_limit_may_cost_more_than_the_default(tmp_path):
    """A point that shrinks earlier and gains by it costs 1.75 of the default's 1.5, below the limit of 5."""
    changes = {"points": [{"shrink_start": 0.25, "ramp_epochs": 1.0}], "base": {**BASE, "temperature": 4.0}}
    changes["points"][0]["temperature"] = 1.0
    limited, without = ({"cost_limit": limit, "trials": 2, **changes} for limit in (5.0, None))
    for name, own in {"limited": limited, "without": without}.items():
        (tmp_path / name).mkdir()
        write_study(tmp_path / name, tmp_path / name / "out", **own)
    head = (tmp_path / "limited/out/best.yaml").read_text()
    assert "better than the default at 1.17 × its cost: not measured on other seeds" in head
    text = (tmp_path / "without/out/best.yaml").read_text()
    assert "The default itself is the best trial" in text


def test_the_default_is_not_set_against_itself():
    assert verdict({**OWN, "tune/best_is_default": 1}) == "the default itself is the best trial"
    assert verdict({"tune/trials": 1}) == ""


def test_a_lead_by_luck_is_found_out(tmp_path):
    """On the seed that chose it the point is 0.5 better, on the others 0.1 to 0.3 less than that."""
    summary = write_study(tmp_path, tmp_path / "out", **POINTS, confirm_seeds=[0, 1, 2, 3])
    table = pd.read_csv(tmp_path / "out/confirmation.csv")
    assert table.seed.tolist() == [1, 2, 3]  # the seed that chose is no witness
    assert table.default_val_top1.tolist() == [79.5] * 3
    assert table.best_val_top1.tolist() == pytest.approx([79.9, 79.8, 79.7])
    assert summary["tune/gain_points_on_its_own_seed"] == 0.5
    assert (summary["tune/confirmed_seeds"], summary["tune/gain_points"]) == (3, 0.3)
    assert (table.own_tmacs > 0).all()
    assert summary["tune/confirm_tmacs"] == pytest.approx(table.own_tmacs.sum())
    interval = summary["tune/gain_points_low"], summary["tune/gain_points_high"]
    assert interval == pytest.approx((0.3 - 4.3027 * 0.1 / 3**0.5, 0.3 + 4.3027 * 0.1 / 3**0.5), abs=1e-3)
    head = (tmp_path / "out/best.yaml").read_text().splitlines()
    assert head[1].startswith(
        "# The best trial is better than the default: +0.30 [+0.05, +0.55] points on 3 other seeds"
    )
    method = yaml.safe_load("\n".join(head))["experiments"]["quick"]["methods"]["deps"]
    assert {"method": "deps", **method} == {**BASE, "ramp_epochs": 1.0}
    again_ = json.loads((tmp_path / "out/summary.json").read_text())
    assert again_ == summary


def test_without_other_seeds_nothing_is_better(tmp_path):
    summary = write_study(tmp_path, tmp_path / "out", **POINTS, confirm_seeds=[0])
    assert "tune/gain_points" not in summary
    assert (
        "# Undecided whether the best trial is better than the default: not" in (tmp_path / "out/best.yaml").read_text()
    )
    assert pd.read_csv(tmp_path / "out/confirmation.csv").empty


def test_what_has_been_measured_is_not_measured_again(tmp_path):
    own, study = made(tmp_path, confirm_seeds=[1, 2])
    calls = []

    def counted(seed, several):
        for options in several:
            if len(calls) == 3:
                os._exit(9)  # as by SIGKILL
            calls.append((seed, options["ramp_epochs"]))
            yield from again(seed, [options])

    child = os.fork()
    if child == 0:
        confirm(own, open_study(own, open_storage(f"sqlite:///{tmp_path / 'study.db'}")), counted, 2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert confirmation_table(own, study, 2).seed.tolist() == [1]
    confirm(own, study, counted, 2)
    assert calls == [(2, 1.0)]
    (tmp_path / "other").mkdir()
    whole = made(tmp_path / "other", confirm_seeds=[1, 2])
    confirm(*whole, again, 2)
    assert confirmation_table(own, study, 2).equals(confirmation_table(*whole, 2))


def test_other_seeds_go_on_with_the_same_study(tmp_path):
    own, study = made(tmp_path, confirm_seeds=[1])
    confirm(own, study, again, 2)
    more = plan(tmp_path, **POINTS, confirm_seeds=[1, 2])
    assert more.config.determinants() == own.config.determinants()
    asked = []

    def noted(seed, several):
        asked.append(seed)
        yield from again(seed, several)

    confirm(more, study, noted, 2)
    assert asked == [2]


def test_a_best_default_needs_no_confirmation(tmp_path):
    own, study = made(tmp_path, points=[{"ramp_epochs": 2.0}], base={**BASE, "ramp_epochs": 1.0}, confirm_seeds=[1])

    def never(seed, several):
        raise AssertionError

    confirm(own, study, never, 2)
    assert confirmation_table(own, study, 2).empty


def test_fewer_trials_than_given_points_run_as_many_as_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for count in (1, 3, 4):
        own = plan(tmp_path, trials=count)
        study = open_study(own, open_storage(f"sqlite:///{tmp_path / 'study.db'}"))
        work(own, study, objective(), count)
        done = [trial.user_attrs.get("point") for trial in study.trials if OPTIONS in trial.user_attrs]
        assert done == ["base", "shrink_start 0.25", "shrink_start 0.75", "ramp_epochs 0"][:count]
    assert not Path("runs").exists()
