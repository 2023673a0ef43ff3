"""What draws trials: that it is what was asked for, that it learns, and that it draws the same again."""

import math
from dataclasses import asdict

import optuna
import pytest
from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler

from dεps.tuning import samplers
from dεps.tuning.config import Range, Search
from dεps.tuning.draw import POINT, draw, given
from dεps.tuning.samplers import chosen, drawing
from dεps.tuning.storage import open_storage
from dεps.tuning.study import FINISHED, open_study, work
from tests.tuning.toy import config, objective, plan

#: parameters that all trials have
PLAIN = Search(
    shrink_start=[0.25, 0.5, 0.75], ramp_epochs=Range(0.0, 2.0), epsilon=Range(0.0, 0.5), temperature=Range(0.5, 4.0)
)


def finished(folder, trials: int, **changes) -> list[optuna.trial.FrozenTrial]:
    own = plan(folder, **changes)
    study = open_study(own, open_storage(f"sqlite:///{folder / 'study.db'}"))
    work(own, study, objective(), trials)
    return study.get_trials(deepcopy=False, states=FINISHED)


@pytest.mark.parametrize(
    ("changes", "done", "expected"),
    [
        ({"sampler": "random"}, 0, "random"),
        ({"sampler": "gp"}, 9999, "gp"),
        ({"sampler": "auto"}, 0, "tpe"),  # a constant ramp has other parameters than the others
        ({"sampler": "auto", "search": PLAIN}, 0, "gp"),
        ({"sampler": "auto", "search": PLAIN}, 249, "gp"),
        ({"sampler": "auto", "search": PLAIN}, 250, "tpe"),
        ({"sampler": "auto", "search": PLAIN, "objectives": ["accuracy"], "pruner": "asha"}, 0, "tpe"),
        ({}, 0, "tpe"),
    ],
)
def test_auto_is_decided_by_the_search(changes, done, expected):
    assert chosen(config(**changes), done) == expected


@pytest.mark.parametrize(
    ("sampler", "kind"), [("tpe", TPESampler), ("random", RandomSampler), ("gp", GPSampler), ("nsga2", NSGAIISampler)]
)
def test_a_trial_is_drawn_by_what_was_asked_for(monkeypatch, sampler, kind):
    made = []
    init = kind.__init__

    def counted(self, *arguments, **keywords):
        made.append(keywords)
        init(self, *arguments, **keywords)

    monkeypatch.setattr(kind, "__init__", counted)
    own, study = config(sampler=sampler), optuna.create_study(directions=["maximize", "minimize"])
    made.clear()
    trial = study.ask()
    draw(trial, own, drawing(study, own, trial.number, 0, []))
    assert made
    assert all(isinstance(keywords["seed"], int) for keywords in made)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "nsga2"])
def test_the_seed_and_the_place_decide_what_is_drawn(tmp_path, sampler):
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        (folder := tmp_path / str(number)).mkdir()
        trials = finished(folder, 5, sampler=sampler, startup_trials=3, sampler_seed=seed, points=[])
        drawn.append([trial.params for trial in trials[1:]])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({str(params) for params in drawn[0]}) == 4


def test_a_gaussian_process_comes_nearer_than_chance(tmp_path):
    """The toy is best at start 0.5, ramp of 1, ε 0, temperature 1, where it has 80."""
    best = {}
    for name in ("gp", "random"):
        (folder := tmp_path / name).mkdir()
        own = {"sampler": name, "startup_trials": 6, "objectives": ["accuracy"], "search": PLAIN, "points": []}
        best[name] = max(trial.values[0] for trial in finished(folder, 16, **own)[6:])
    assert best["gp"] > 79.5
    assert best["gp"] > best["random"]


def test_a_copy_has_all_parameters_in_each_trial_and_leaves_out_what_is_not_searched(tmp_path):
    own = config(sampler="gp", points=[{"distill": False}, {"ramp_shape": "constant", "epsilon": 0.2}])
    study = optuna.create_study(directions=["maximize", "minimize"])
    for name, point in own.all_points().items():
        study.enqueue_trial(given(own, point), user_attrs={POINT: name})
        trial = study.ask()
        draw(trial, own, lambda _: None)
        trial.set_constraint("cost", 0.5)
        study.tell(trial, [70.0, 1.5])
    copy = samplers._copy(study, own, 3, GPSampler(seed=0))
    assert [trial.user_attrs.get(POINT) for trial in study.trials] == list(own.all_points())
    base, constant = copy.trials
    assert base.params == {
        "shrink_start": 0.5,
        "ramp_shape": "linear",
        "ramp_epochs": 0.5,
        "epsilon": 0.0,
        "temperature": 1.0,
        "constant_epsilon": pytest.approx(math.sqrt(0.05)),
    }
    assert (constant.params["constant_epsilon"], constant.params["ramp_epochs"]) == (0.2, 1.0)
    assert constant.params["epsilon"] == 0.25
    assert (base.values, base.constraints) == ([70.0, 1.5], {"cost": 0.5})


def test_trials_of_others_are_known_so_that_workers_do_not_draw_the_same(tmp_path):
    own = config(sampler="gp", search=PLAIN, points=[], startup_trials=3, objectives=["accuracy"])
    study = optuna.create_study(direction="maximize")
    for number in range(5):
        trial = study.ask()
        options = draw(trial, own, drawing(study, own, trial.number, number, []))
        study.tell(trial, objective()(number, number, options, lambda *_: None).accuracy)
    first, second = study.ask(), study.ask()
    draw(first, own, drawing(study, own, first.number, 5, []))
    copy = samplers._copy(study, own, second.number, GPSampler(seed=0))
    assert [trial.state.name for trial in copy.trials] == ["COMPLETE"] * 5 + ["RUNNING"]
    assert copy.trials[-1].params == first.params
    assert len(samplers._copy(study, own, first.number, GPSampler(seed=0)).trials) == 5


def test_nsga2_breeds_from_the_generation_before(tmp_path):
    """Each child takes most of its values from parents, which chance does not do."""
    trials = finished(tmp_path, 14, sampler="nsga2", startup_trials=7, search=PLAIN, points=[])
    values = [tuple(round(value, 6) for value in trial.params.values()) for trial in trials]
    parents = [set(column) for column in zip(*values[:7], strict=True)]
    children = [sum(value in parents[place] for place, value in enumerate(own)) for own in values[7:]]
    assert sum(children) >= 0.6 * 4 * 7


def test_another_sampler_is_another_study():
    assert config(sampler="gp").determinants() != config().determinants()
    assert asdict(config())["sampler"] == "tpe"


@pytest.mark.parametrize(
    ("limits", "middle"),
    [
        (Range(0.0, 2.0), 1.0),
        (Range(0.5, 8.0, log=True), 2.0),
        (Range(0.0, 3.0, step=0.5), 1.5),
        (Range(0.0, 1.0, step=1.0), 0.0),
    ],
)
def test_the_middle_of_a_range(limits, middle):
    drawn = optuna.distributions.FloatDistribution(limits.low, limits.high, limits.log, limits.step)
    assert samplers._middle(drawn) == pytest.approx(middle)
