import sys
import time

import pytest

from dεps.core.errors import UserError
from dεps.workspace import live as module
from dεps.workspace.identity import run_identity
from dεps.workspace.live import LiveRun, read_live
from tests.conftest import default_params

PARAMS = default_params()
IDENTITY = run_identity(PARAMS, "quick", "deps", 0, {"name": "m", "sha256": {}})


def test_a_resumed_run_keeps_the_times_of_known_records(tmp_path):
    path = tmp_path / "live.jsonl"
    first = LiveRun(path, IDENTITY, follow=False)
    first.start([])
    first.log({"epoch": 1})
    first.log({"epoch": 2})
    _, before, ended = read_live(path)
    assert not ended
    second = LiveRun(path, IDENTITY, follow=False)
    second.start([{"epoch": 1}])
    second.finish()
    header, after, ended = read_live(path)
    assert after == before[:1]
    assert ended
    assert header["digest"] == IDENTITY.digest


def test_a_half_written_line_is_not_read(tmp_path):
    path = tmp_path / "live.jsonl"
    live = LiveRun(path, IDENTITY, follow=False)
    live.start([])
    live.log({"epoch": 1})
    with path.open("a") as file:
        file.write('{"time": 1, "rec')
    assert [entry["record"] for entry in read_live(path)[1]] == [{"epoch": 1}]


def test_no_file_is_no_run(tmp_path):
    assert read_live(tmp_path / "nothing.jsonl") == ({}, [], False)


@pytest.mark.parametrize(
    ("follower", "warnings"),
    [
        ("print('done')", 0),
        ("print('warned')", 0),  # as it has said itself
        ("import os; os.kill(os.getpid(), 9)", 1),
        ("import time; time.sleep(60)", 1),
        ("import time; print('warned', flush=True); time.sleep(60)", 0),
    ],
)
def test_a_follower_that_fails_is_one_warning_and_a_short_wait(tmp_path, monkeypatch, capfd, follower, warnings):
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{follower}\n")
    program.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(program))
    monkeypatch.setattr(module, "patience", lambda uri: 1.0)
    monkeypatch.setenv("DEPS_FOLLOW_AFTER", "0")
    live = LiveRun(tmp_path / "live.jsonl", IDENTITY)
    live.start([])
    live.finish()
    assert live.process.returncode is not None
    err = capfd.readouterr().err
    assert err.count("warning: MLflow") == len(err.splitlines()) == warnings


@pytest.mark.parametrize(("training", "followed"), [(0.0, False), (0.6, True)])
def test_only_a_training_that_goes_on_is_followed(tmp_path, monkeypatch, training, followed):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(program))
    monkeypatch.setenv("DEPS_FOLLOW_AFTER", "0.3")
    live = LiveRun(tmp_path / "live.jsonl", IDENTITY)
    live.start([])
    time.sleep(training)
    live.finish()
    assert (live.process is not None) == followed
    assert not live.timer.is_alive()


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9"])
def test_seconds_that_are_none(tmp_path, monkeypatch, text):
    monkeypatch.setenv("DEPS_FOLLOW_AFTER", text)
    with pytest.raises(UserError, match=rf"^DEPS_FOLLOW_AFTER is '{text}'; expected seconds, 0 to 86400$"):
        LiveRun(tmp_path / "live.jsonl", IDENTITY)
