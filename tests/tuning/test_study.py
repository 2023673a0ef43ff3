import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.trial import TrialState

from dεps.core.errors import DivergenceError, UserError
from dεps.tuning import storage as storage_module
from dεps.tuning import study as study_module
from dεps.tuning.confirm import confirmation_table
from dεps.tuning.draw import GIVEN, POINT, draw, given
from dεps.tuning.outputs import curves_table, finished_trials, trials_table, write
from dεps.tuning.storage import masked, open_storage, storage_url, watched
from dεps.tuning.study import FINISHED, are_finished, count_diverged, count_finished, open_study, place, work
from dεps.tuning.verdict import verdict
from tests.conftest import ROOT
from tests.tuning.toy import config, objective, plan


@pytest.fixture
def sqlite(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def database(request, tmp_path):
    """An empty database of the kind that the test asks for."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    import psycopg

    server = request.getfixturevalue("postgresql")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.removesuffix("postgres") + name


def start_workers(url, folder, trials, seconds, count):
    command = [sys.executable, "-m", "tests.tuning.toy", url, str(folder), str(trials), str(seconds)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(count)]


def check_24(study):
    finished = study.get_trials(deepcopy=False, states=FINISHED)
    assert len(finished) == 24
    points = Counter(trial.user_attrs["point"] for trial in finished if "point" in trial.user_attrs)
    assert points == dict.fromkeys(plan_points(), 1)
    assert not study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    drawn = [json.dumps(trial.params, sort_keys=True) for trial in finished]
    assert len(set(drawn)) == 24


def plan_points():
    return ["base", "shrink_start 0.25", "shrink_start 0.75", "ramp_epochs 0", "distill off"]


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_four_workers_finish_exactly_so_many_trials(database, tmp_path):
    workers = start_workers(database, tmp_path, 24, 0.2, 4)
    assert [worker.wait(120) for worker in workers] == [0] * 4
    study = optuna.load_study(study_name="toy", storage=open_storage(database))
    check_24(study)
    assert len({trial.user_attrs["workers"][0] for trial in study.trials}) > 1
    assert len(study.trials) == 24


def running_trial(study, pid):
    """The trial that a worker is in and will be in for another second, if there is one."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        own = trial.user_attrs.get("workers", [""])[-1].startswith(f"{pid}-") and "options" in trial.user_attrs
        if own and datetime.now() - trial.datetime_start < timedelta(seconds=1):
            return trial
    return None


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_killed_workers_trial_is_tried_again(database, tmp_path):
    workers = start_workers(database, tmp_path, 24, 2.0, 4)
    storage = open_storage(database)
    hit = None
    deadline = time.monotonic() + 90
    while hit is None and time.monotonic() < deadline:
        time.sleep(0.05)
        with suppress(KeyError):
            study = optuna.load_study(study_name="toy", storage=storage)
            if count_finished(study) >= 3:
                hit = running_trial(study, workers[1].pid)
    workers[1].send_signal(signal.SIGKILL)
    assert [worker.wait(120) for worker in workers] == [0, -signal.SIGKILL, 0, 0]
    check_24(study)
    again = study.trials[hit.number]
    assert (again.state, again.params) == (TrialState.COMPLETE, hit.params)
    assert len(again.user_attrs["workers"]) == 2
    assert all(len(trial.user_attrs["workers"]) == 1 for trial in study.trials if trial.number != hit.number)


def finished_table(own, study, trials=8):
    found = finished_trials(study, trials)
    return trials_table(own, found).to_csv() + curves_table(found).to_csv()


def run_all(folder, kill_after=None, pause=0.0, **changes):
    """The tables of a study by one worker, which is interrupted in its so many-eth trial, half-way, for a while."""
    own = plan(folder, **changes)
    url = f"sqlite:///{folder / 'study.db'}"
    if kill_after is not None:
        calls = []

        def dies(number, place, options, report):
            calls.append(number)
            if len(calls) > kill_after:
                os._exit(9)  # as by SIGKILL: nothing is tidied up
            return objective()(number, place, options, report)

        child = os.fork()
        if child == 0:
            work(own, open_study(own, open_storage(url)), dies, 8)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert count_finished(open_study(own, open_storage(url))) == kill_after
        time.sleep(pause)
    study = open_study(own, open_storage(url))
    work(own, study, objective(), 8)
    return finished_table(own, study)


@pytest.mark.parametrize(
    "changes",
    [{}, {"cost_limit": 1.5}, {"sampler": "nsga2", "startup_trials": 3}]
    + [{"sampler": "gp", "startup_trials": 3, "cost_limit": 1.5}]
    + [{"objectives": ["accuracy"], "pruner": name, "pruner_from": 0.125} for name in ("none", "asha", "hyperband")],
)
def test_an_interrupted_study_is_the_undisturbed_one(tmp_path, changes):
    tables = {}
    for name, kill_after in {"undisturbed": None, "in a point": 3, "in a drawn one": 6}.items():
        (tmp_path / name).mkdir()
        tables[name] = run_all(tmp_path / name, kill_after, **changes)
    assert tables["in a point"] == tables["undisturbed"]
    assert tables["in a drawn one"] == tables["undisturbed"]


@pytest.mark.parametrize("kill_after", [1, 6])
def test_a_long_interruption_changes_nothing(tmp_path, monkeypatch, kill_after):
    """Longer than what makes another machine's trial a dead one: the trial is this machine's own, and goes on."""
    whole = run_all(tmp_path)
    monkeypatch.setattr(storage_module, "GRACE", 1)
    (tmp_path / "again").mkdir()
    assert run_all(tmp_path / "again", kill_after, pause=2.5) == whole
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path / 'again/study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8


def test_pruned_trials_count_and_show_what_they_cost(tmp_path, sqlite):
    own = plan(tmp_path, objectives=["accuracy"], pruner="asha", pruner_from=0.125, trials=20)
    study = open_study(own, open_storage(sqlite))
    work(own, study, objective(), 20)
    table = trials_table(own, finished_trials(study, 20))
    pruned = table[table.state == "pruned"]
    assert 0 < len(pruned) < 20
    assert pruned.val_top1.isna().all()
    assert (pruned.epochs < 8).all()
    assert not pruned[["feasible", "front", "best"]].any().any()


def test_ctrl_c_leaves_the_trial_to_the_next(tmp_path, sqlite):
    own = plan(tmp_path)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    study = open_study(own, open_storage(sqlite))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            work(own, study, interrupted, 8)
    work(own, study, objective(), 8)
    (tmp_path / "other").mkdir()
    assert finished_table(own, study) == run_all(tmp_path / "other")


def test_trials_that_diverge_are_replaced_by_others(tmp_path, sqlite, capsys):
    measure, drawn = objective(), []

    def diverging(number, place, options, report):
        drawn.append(options)
        if len(drawn) in (7, 8):
            raise DivergenceError("trial: the loss is not finite any more")
        return measure(number, place, options, report)

    own = plan(tmp_path)
    study = open_study(own, open_storage(sqlite))
    work(own, study, diverging, 8)
    states = [trial.state.name for trial in study.get_trials()]
    assert (states.count("COMPLETE"), states.count("FAIL")) == (8, 2)
    assert drawn[6] != drawn[7] != drawn[8]
    assert capsys.readouterr().err.count("not finite any more; the trial has failed") == 2
    assert [count_diverged(study, count) for count in (0, 5, 6, 7, 8, 9)] == [0, 0, 0, 2, 2, 2]


def test_trials_that_diverge_are_counted_once_though_their_workers_die(tmp_path):
    """Three drawn trials diverge; a worker dies in each of them, and in one that does not."""

    def measured(folder, deaths):
        folder.mkdir()
        own, url, calls = plan(folder, trials=9), f"sqlite:///{folder / 'study.db'}", []

        def measure(number, place, options, report):
            calls.append(number)
            if number in deaths:
                raise KeyboardInterrupt
            if number in (6, 7, 9):
                raise DivergenceError("trial: the loss is not finite any more")
            return objective()(number, place, options, report)

        while deaths:
            with pytest.raises(KeyboardInterrupt):
                work(own, open_study(own, open_storage(url)), measure, 9)
            deaths = deaths - {calls[-1]}
        study = open_study(own, open_storage(url))
        work(own, study, measure, 9)
        return write(own, study, "quick", 2.0, confirmation_table(own, study, 9), folder), folder

    (whole, first), (again, second) = (
        measured(tmp_path / name, deaths) for name, deaths in (("a", set()), ("b", {6, 7, 8, 9}))
    )
    assert again == whole
    assert whole["tune/diverged"] == 3
    assert verdict(whole).endswith("; 3 drawn trials diverged, not counted")
    for name in ("trials.csv", "summary.json", "best.yaml"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_given_trial_that_diverges_ends_the_study(tmp_path, sqlite):
    def diverging(number, place, options, report):
        raise DivergenceError("trial: the loss is not finite any more")

    own = plan(tmp_path)
    study = open_study(own, open_storage(sqlite))
    with pytest.raises(DivergenceError, match="not finite any more"):
        work(own, study, diverging, 8)


def test_more_trials_extend_the_study(tmp_path, sqlite):
    own = plan(tmp_path)
    study = open_study(own, open_storage(sqlite))
    work(own, study, objective(), 8)
    first = finished_table(own, study)
    work(own, study, objective(), 10)
    assert count_finished(study) == 10
    assert finished_table(own, study) == first
    work(own, study, objective(), 8)
    assert len(study.trials) == 10


def test_a_trial_too_many_is_given_up(tmp_path, sqlite, monkeypatch):
    own = plan(tmp_path)
    study = open_study(own, open_storage(sqlite))
    work(own, study, objective(), 5)
    asked = study.ask()  # on another machine, in the same moment
    states, study_module.ACTIVE = study_module.ACTIVE, (TrialState.COMPLETE,)
    try:
        monkeypatch.setattr(study_module, "_is_dead", lambda *arguments: False)
        monkeypatch.setattr(study_module, "place", lambda study, number: number)
        assert study_module._begin(own, study, "w", 6) is None
    finally:
        study_module.ACTIVE = states
    assert [trial.state for trial in study.trials[5:]] == [TrialState.RUNNING, TrialState.FAIL]
    assert place(study, asked.number) == 5


def test_a_trial_of_a_dead_machine_is_tried_again(tmp_path, sqlite, monkeypatch):
    monkeypatch.setattr(storage_module, "GRACE", 1)
    own = plan(tmp_path)
    study = open_study(own, open_storage(sqlite))
    trial = study.ask()
    study._storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr("workers", ["elsewhere"])
    work(own, study, objective(), 8)
    assert study.trials[0].state == TrialState.FAIL
    assert sum(trial.user_attrs.get("point") == "base" for trial in study.get_trials(states=FINISHED)) == 1
    assert (count_finished(study), len(study.trials)) == (8, 9)


def test_a_limit_decides_what_is_best(tmp_path, sqlite):
    own = plan(tmp_path, cost_limit=1.4)
    study = open_study(own, open_storage(sqlite))
    work(own, study, objective(), 8)
    table = trials_table(own, finished_trials(study, 8))
    assert table[table.feasible].shrink_start.unique().tolist() == [0.75]
    best = table[table.best].iloc[0]
    assert best.val_top1 == table[table.feasible].val_top1.max()
    assert table.val_top1.max() > best.val_top1


def test_the_storage_is_named_by_option_environment_or_default(tmp_path, monkeypatch):
    monkeypatch.delenv("DEPS_STUDY_STORAGE", raising=False)
    assert storage_url(None, tmp_path) == f"sqlite:///{tmp_path}/study.db"
    monkeypatch.setenv("DEPS_STUDY_STORAGE", "postgresql://host/a")
    assert storage_url(None, tmp_path) == "postgresql://host/a"
    assert storage_url("sqlite:///b", tmp_path) == "sqlite:///b"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", r"no database URL; expected postgresql://… or sqlite:///…"),
        ("nosuch://user:geheim@host/db", r"nosuch://user:\*\*\*@host/db cannot be used"),
        ("sqlite:////proc/none/study.db", r"/proc/none"),
        ("postgresql://user:geheim@127.0.0.1:1/db", r"user:\*\*\*@127\.0\.0\.1:1/db cannot be used"),
    ],
)
def test_an_unusable_storage_is_one_line_without_the_password(url, message):
    with pytest.raises((UserError, OSError), match=message) as caught:
        open_storage(url)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def _lose(path, how):
    if how == "removed":
        path.unlink()
    elif how == "cut":
        path.write_bytes(b"")
    elif how == "overwritten":
        path.write_bytes(path.read_bytes()[:8192] + os.urandom(100_000))
    else:
        with contextlib.closing(sqlite3.connect(path)) as database:
            for statement in how.split("; "):
                database.execute(statement)
            database.commit()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("removed", "attempt to write a readonly database"),
        ("cut", "no such table"),
        ("overwritten", "malformed"),
        ("DROP TABLE trial_values", "no such table: trial_values"),
        ("DELETE FROM trials; DELETE FROM studies", "Record does not exist"),
        ("UPDATE study_user_attributes SET value_json = '{'", "Expecting"),
    ],
)
def test_a_database_that_is_lost_meanwhile_is_one_line(tmp_path, sqlite, how, reason):
    """A worker in its second trial; afterwards the same command goes on, or says why not, and nothing is kept quiet."""
    own, done = plan(tmp_path), []

    def loses(number, *arguments):
        if done:
            _lose(tmp_path / "study.db", how)
        done.append(number)
        return objective()(number, *arguments)

    message = r"study's storage sqlite:.*study\.db has vanished or is damaged"
    with pytest.raises(UserError, match=message) as caught, watched(sqlite):
        work(own, open_study(own, open_storage(sqlite)), loses, 8)
        open_study(own, open_storage(sqlite))
    assert reason in str(caught.value)
    assert str(caught.value).endswith(
        "put a copy of it back, or remove it: the same command then begins the study again"
    )
    (tmp_path / "study.db").unlink(missing_ok=True)
    with watched(sqlite):
        study = open_study(own, open_storage(sqlite))
        work(own, study, objective(), 8)
    assert count_finished(study) == 8


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial_values SET value = value + 10 WHERE objective = 0",
        "DELETE FROM trial_values",
        "DELETE FROM trial_user_attributes WHERE key = 'outcome'",
        "DELETE FROM trial_user_attributes WHERE key = 'options'",
    ],
)
def test_a_database_whose_trials_contradict_themselves_is_refused(tmp_path, sqlite, change):
    own = plan(tmp_path)
    work(own, open_study(own, open_storage(sqlite)), objective(), 3)
    _lose(tmp_path / "study.db", change)
    with pytest.raises(
        UserError, match=r"study\.db is damaged: finished trial 0 has no consistent results; put a copy"
    ):
        open_study(own, open_storage(sqlite))


def test_a_fault_of_the_code_is_not_taken_for_the_databases(sqlite):
    with pytest.raises(KeyError, match="shrink"), watched(sqlite):
        raise KeyError("shrink")


def test_passwords_are_masked():
    assert masked("postgresql://me:geheim@host/db") == "postgresql://me:***@host/db"


def test_a_given_point_may_hold_a_list():
    own = config(points=[{"kernels": [5]}])
    (name,) = set(own.all_points()) - {"base"}
    study = optuna.create_study()
    study.enqueue_trial(given(own, own.all_points()[name]), user_attrs={POINT: name})
    trial = study.ask()
    assert draw(trial, own, lambda _: None)["kernels"] == [5]
    assert trial.params[f"{GIVEN}kernels"] == "[5]"


def test_a_later_trial_does_not_take_the_place_of_one_that_runs():
    """As in a study that was asked for more trials, and is then written with fewer."""
    study = optuna.create_study()
    done = optuna.trial.create_trial(state=TrialState.COMPLETE, value=1.0)
    study.add_trial(done)
    running = study.ask()
    study.add_trial(done)
    assert [are_finished(study, count) for count in (1, 2, 3, 4)] == [True, False, False, False]
    study.tell(running, 2.0)
    assert [are_finished(study, count) for count in (2, 3, 4)] == [True, True, False]
