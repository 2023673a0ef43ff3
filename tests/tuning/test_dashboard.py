"""The best trial in optuna-dashboard: notes and an artifact, written once and moved with the best."""

import shutil
import sys

import optuna
import pytest
import yaml
from optuna.artifacts import get_all_artifact_meta

from dεps.tuning.dashboard import artifacts, show_best
from dεps.tuning.outputs import finished_trials, summarise, trials_table
from dεps.tuning.storage import open_storage
from dεps.tuning.study import open_study, work
from tests.tuning.toy import BASE, objective, plan


def shown(own, study, trials: int, best: int) -> bool:
    """What `show_best` returns where that is the best of the first `trials`."""
    table = trials_table(own, finished_trials(study, trials))
    table = table.assign(best=table.trial == best)
    return show_best(own, study, "toy", table, summarise(own.config, table, 1.0, table.head(0), 0))


def note(study, number: int | None = None) -> str:
    from optuna_dashboard import get_note

    return get_note(study if number is None else optuna.Trial(study, study.trials[number]._trial_id))


def attributes(study) -> dict:
    return study._storage.get_study_system_attrs(study._study_id)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study of five trials."""
    folder = tmp_path_factory.mktemp("done")
    own = plan(folder)
    work(own, open_study(own, open_storage(f"sqlite:///{folder / 'study.db'}")), objective(), 5)
    return folder


@pytest.fixture
def study(done, tmp_path):
    """A copy of it."""
    shutil.copy(done / "study.db", tmp_path)
    own = plan(tmp_path)
    return own, open_study(own, open_storage(f"sqlite:///{tmp_path / 'study.db'}"))


def test_the_best_trial_has_a_note_and_the_study_its_parameters(study):
    own, study = study
    assert shown(own, study, 5, 2)
    assert note(study).startswith("The best of 5 trials is number 2.")
    assert f"{study.trials[2].values[0]:.2f} % mean Pareto accuracy" in note(study, 2)
    assert note(study, 0) == note(study, 1) == ""
    (file,) = get_all_artifact_meta(study)
    assert file.filename == "best-of-5.yaml"
    text = (artifacts(own) / file.artifact_id).read_text("utf-8")
    assert text in note(study, 2)
    method = yaml.safe_load(text)["experiments"]["toy"]["methods"]["deps"]
    assert {"method": "deps", **method} == {**BASE, "shrink_start": 0.75}


def test_the_same_again_changes_nothing_and_another_best_takes_the_note_over(study):
    own, study = study
    shown(own, study, 3, 1)
    before = attributes(study)
    shown(own, study, 3, 1)
    assert attributes(study) == before
    assert len(list(artifacts(own).iterdir())) == 1
    shown(own, study, 5, 2)
    assert note(study, 1) == ""
    assert note(study, 2).startswith("**Best of 5 trials**")
    assert note(study).startswith("The best of 5 trials is number 2.")
    assert {file.filename for file in get_all_artifact_meta(study)} == {"best-of-3.yaml", "best-of-5.yaml"}


def test_without_the_package_there_is_the_artifact_alone(study, monkeypatch):
    own, study = study
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert not shown(own, study, 5, 2)
    assert [file.filename for file in get_all_artifact_meta(study)] == ["best-of-5.yaml"]
    assert not any(key.startswith("dashboard") for key in attributes(study))


def test_no_best_trial_leaves_nothing(study):
    own, study = study
    assert shown(own, study, 5, -1)
    assert not artifacts(own).exists()
