"""What the private parts of Optuna must do, whatever version is installed."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from dεps.tuning.private import contains, heartbeat, in_generation, is_reported, resumed, storage_of, url_of
from dεps.tuning.storage import open_storage


def test_what_is_private_is_there(tmp_path):
    study = optuna.create_study(study_name="s", storage=open_storage(f"sqlite:///{tmp_path / 'study.db'}"))
    trial = study.ask()
    used = [(study, "_storage"), (trial, "_trial_id"), (study.get_trials()[0], "_trial_id")]
    used += [(FloatDistribution(0.0, 1.0), "_contains")]
    used += [(study._storage, name) for name in ("record_heartbeat", "get_trial", "_backend")]
    missing = [f"{type(where).__name__}.{name}" for where, name in used if not hasattr(where, name)]
    assert missing == [], f"Optuna {optuna.__version__} has no {missing}, which dεps/tuning/private.py relies on"


def test_the_address_is_that_of_the_database(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    optuna.create_study(study_name="s", storage=storage)
    again = optuna.load_study(study_name="s", storage=storage)
    assert url_of(storage) == url_of(storage_of(again)) == url


def test_a_running_trial_is_taken_up_again_with_its_values_and_kept_alive(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    assert storage_of(study).get_study_id_from_name("s") == storage.get_study_id_from_name("s")
    first = study.ask()
    assert first.suggest_float("x", 0.0, 1.0) == study.trials[0].params["x"]
    first.report(0.5, 3)
    (running,) = study.get_trials(states=(TrialState.RUNNING,))
    second = resumed(study, running)
    assert (second.number, second.params) == (first.number, first.params)
    assert is_reported(study, second, 3)
    assert not is_reported(study, second, 4)
    heartbeat(study, running)
    heartbeat(study, second)
    with pytest.warns(ExperimentalWarning):
        optuna.storages.fail_stale_trials(study)
    study.tell(second, 1.0)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_a_grid_holds_its_steps_only():
    grid = FloatDistribution(0.0, 1.0, step=0.25)
    assert [contains(grid, value) for value in (0.0, 0.25, 1.0, 0.3, 1.25, -0.25)] == [True] * 3 + [False] * 3
    assert contains(FloatDistribution(0.5, 4.0, log=True), 0.7)
    assert not contains(FloatDistribution(0.5, 4.0, log=True), 0.4)


def test_a_generation_is_the_one_that_nsga2_reads():
    """Of two parents, chosen among four of generation 0, all children without mutation are made."""
    space = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}
    sampler = optuna.samplers.NSGAIISampler(population_size=2, seed=0, mutation_prob=0.0, crossover_prob=0.0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for number, place in enumerate((0.125, 0.25)):
        attributes = in_generation(0)
        params = {"x": place, "y": place}
        study.add_trial(
            optuna.create_trial(
                params=params, distributions=space, values=[place, float(number)], system_attrs=attributes
            )
        )
    drawn = [study.ask(space).params["x"] for _ in range(8)]
    assert set(drawn) <= {0.125, 0.25}
