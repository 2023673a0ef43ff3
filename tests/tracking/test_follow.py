"""The loop of `deps track --follow`, and that it goes with the process that started it."""

import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.tracking import follow as module
from dεps.tracking import private, runs, system
from dεps.tracking.follow import follow
from dεps.tracking.store import MlflowException, Session
from dεps.workspace.identity import run_identity
from dεps.workspace.live import LiveFile
from dεps.workspace.locks import attempt, exclusive
from tests.conftest import ROOT, made_up_manifest, quick_params


@pytest.fixture
def looks(tmp_path, monkeypatch):
    """A working copy, and how often the loop looks at it before it is over: quickly, one event after each look."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    waited = []
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(module, "_wait", lambda seconds, is_over: waited.append(seconds))

    def run(*events) -> list[float]:
        """Follow; after each pause comes an event. Returns the seconds of each pause."""
        waited.clear()
        left = list(events)

        def is_over() -> bool:
            if len(waited) > len(events) - len(left):
                left.pop(0)()
            return len(waited) >= len(events)

        follow("sqlite:///mlflow.db", is_over)
        return list(waited)

    return run


@pytest.fixture
def passed(monkeypatch):
    """The trainings that were passed on, as lists; a function in it is called in its turn instead."""
    seen, faults = [], []

    def pass_on(store, works):
        if faults and (error := faults.pop(0)):
            raise error
        seen.append([work.name for work in works])

    monkeypatch.setattr(runs, "pass_on", pass_on)
    monkeypatch.setattr(Session, "_watched", lambda session, work: work(None))
    return seen, faults


@pytest.fixture
def training():
    """A training of stage `train` that is under way."""
    with ExitStack() as stack:

        def begin(name: str) -> LiveFile:
            stack.enter_context(exclusive(Path(f".state/locks/quick/train/{name}.lock"), "runs this stage"))
            identity = run_identity(quick_params(), "quick", "deps", 0, made_up_manifest())
            live = LiveFile(Path(f".state/live/quick/train/{name}.jsonl"), identity)
            live.start([])
            return live

        yield begin


def nothing() -> None:
    pass


def test_only_what_is_new_is_passed_on(looks, passed, training):
    first = training("deps-0")
    training("deps-1")
    pauses = looks(nothing, nothing, lambda: first.log({"epoch": 1}), nothing, first.finish, nothing)
    assert passed[0] == [
        ["quick/train/deps-0", "quick/train/deps-1"],
        ["quick/train/deps-0"],
        ["quick/train/deps-0"],
    ]
    assert pauses == [module.POLL] * 6


def test_a_slow_store_is_asked_less_often(looks, passed, training, monkeypatch):
    training("deps-0")
    monkeypatch.setattr(Session, "do", lambda session, work, turn: work(None))
    for seconds, rest in ((2, 2 * module.REST), (20, module.LONGEST_REST)):
        clock = iter(range(0, 1000, seconds))  # so much later at each look
        monkeypatch.setattr(module.time, "monotonic", lambda clock=clock: next(clock))
        assert looks(nothing, nothing) == [rest, module.POLL]


def test_a_failing_store_is_one_warning_and_longer_and_longer_pauses(looks, passed, training, capsys):
    live = training("deps-0")
    seen, faults = passed
    faults += [MlflowException("no\nanswer")] * 8 + [None] + [OSError("again")]
    pauses = looks(*[nothing] * 8, lambda: live.log({"epoch": 1}), nothing, nothing)
    longest = module.LONGEST_PAUSE
    assert pauses == [30, 60, 120, 240, 480, longest, longest, longest, module.POLL, 30, module.POLL]
    assert len(seen) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"warning: MLflow is not followed ({why}); 'deps track' completes its store" for why in ("no answer", "again")
    ]


def test_what_the_machine_does_is_logged_while_a_training_runs(looks, passed, training, monkeypatch):
    """Once in EVERY seconds, as means of one sample a look, for what runs; each look takes ten seconds here."""
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    clock = itertools.count(0, 10)
    monkeypatch.setattr(system.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(system, "EVERY", 30.0)
    samples, logged = itertools.count(1), []

    class Monitor:
        def __init__(self):
            self.values = []

        def collect_metrics(self):
            self.values.append(next(samples))

        def aggregate_metrics(self):
            return {"load": sum(self.values) / len(self.values)}

        def clear_metrics(self):
            self.values.clear()

    monkeypatch.setattr(private, "monitors", lambda: [Monitor()])
    monkeypatch.setattr(runs, "log_system", lambda store, works, values, now: logged.append((works[0].name, values)))
    training("deps-0")
    looks(*[nothing] * 5)
    assert logged
    assert {name for name, _ in logged} == {"quick/train/deps-0"}
    first = logged[0][1]["load"]
    assert first == sum(range(1, int(2 * first))) / (2 * first - 1)  # the mean of 1 to n, each once
    if len(logged) > 1:
        assert logged[1][1]["load"] > 2 * first - 1  # later samples only
    logged.clear()
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    looks(*[nothing] * 5)
    assert logged == []


def test_mlflows_monitors_say_what_this_machine_does():
    monitors = private.monitors()
    for monitor in monitors:
        monitor.collect_metrics()
    values = {key: value for monitor in monitors for key, value in monitor.aggregate_metrics().items()}
    assert 0 < values["system_memory_usage_percentage"] < 100
    assert values["cpu_utilization_percentage"] >= 0
    for monitor in monitors:
        monitor.clear_metrics()
        monitor.collect_metrics()


def test_an_error_of_the_program_is_not_hidden(looks, passed, training):
    training("deps-0")
    passed[1].append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        looks(nothing)


def test_while_another_process_writes_it_waits_without_a_word(looks, passed, training, capsys):
    training("deps-0")
    with exclusive(Path(".state/mlflow-turn.lock"), "writes"):
        looks(nothing, nothing)
        assert passed[0] == []
    looks(nothing)
    assert passed[0] == [["quick/train/deps-0"]]
    assert capsys.readouterr().err == ""


def test_nothing_of_mlflow_is_imported_before_a_training_runs(tmp_path):
    code = "import sys, time; from dεps.tracking.follow import follow; end = time.monotonic() + 2\n"
    code += "follow(None, lambda: time.monotonic() > end); print('mlflow' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert not (tmp_path / "mlflow.db").exists()


def test_one_follows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "POLL", 0.1)
    followed = []
    monkeypatch.setattr(module, "_follow", lambda *arguments: followed.append(arguments[0]))
    with attempt(Path(".state/follow.lock")):
        until = time.monotonic() + 1
        follow("uri", lambda: time.monotonic() > until)
        assert followed == []
    follow("uri")
    assert followed == ["uri"]


#: a process that starts a follower and then waits
PARENT = """
import os, subprocess, sys, time
print(subprocess.Popen([sys.executable, "-m", "dεps.tracking.follow", str(os.getpid())]).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_follower_goes_with_its_parent(tmp_path, number):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    follower = Path("/proc") / parent.stdout.readline().strip()
    until = time.monotonic() + 60
    while not (tmp_path / ".state/follow.lock").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert int((follower / "stat").read_text().rpartition(")")[2].split()[16]) == min(19, os.nice(0) + module.NICE)
    parent.send_signal(number)
    parent.wait()
    while follower.exists() and "Z" not in (follower / "stat").read_text().rpartition(")")[2].split()[0]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_command_follows(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "follow", asked.append)
    monkeypatch.setattr(os, "nice", asked.append)
    result = CliRunner().invoke(main, ["track", "--follow", "--uri", "sqlite:///x.db"])
    assert (result.exit_code, result.output) == (0, "")
    assert asked == [module.NICE, "sqlite:///x.db"]
