import json
import os
import socket
import time
from dataclasses import replace

import pytest

from dεps.workspace import live as module
from dεps.workspace.identity import run_identity
from dεps.workspace.live import LiveFile, read_live
from dεps.workspace.stage import Context
from tests.conftest import made_up_manifest, quick_params

PARAMS = quick_params()
IDENTITY = run_identity(PARAMS, "quick", "deps", 0, made_up_manifest())


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    """Every look at the clock is a millisecond later."""
    ticks = iter(range(1, 1000))
    monkeypatch.setattr(module, "_now", lambda: next(ticks))


def test_a_file_says_what_its_training_has_done(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "tall-poem")
    path = tmp_path / "new" / "live.jsonl"
    live = LiveFile(path, IDENTITY)
    live.start([{"epoch": 1, "val/x": 0.5}])
    live.log({"epoch": 2, "val/x": float("nan"), "phase": "ε"})
    seen = read_live(path)
    assert seen.identity == IDENTITY
    assert (seen.origin.started, seen.origin.host, seen.origin.dvc_experiment) == (1, socket.gethostname(), "tall-poem")
    assert seen.origin.git_commit
    assert seen.origin.threads == int(os.environ["OMP_NUM_THREADS"])
    assert (
        json.dumps(seen.epochs)
        == '[[1, {"epoch": 1, "val/x": 0.5}], [2, {"epoch": 2, "val/x": NaN, "phase": "\\u03b5"}]]'
    )
    assert not seen.ended
    live.finish()
    assert read_live(path).ended
    assert read_live(path).epochs[0] == seen.epochs[0]


def test_the_file_is_that_of_its_instance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    live = LiveFile.of(Context("train", "quick", "deps", 0, PARAMS), "deps", made_up_manifest())
    assert (live.path.as_posix(), live.identity) == (".state/live/quick/train/deps-0.jsonl", IDENTITY)


def killed(path, *records, identity=IDENTITY):
    live = LiveFile(path, identity)
    live.start([])
    for record in records:
        live.log(record)
    return read_live(path)


def test_a_resumed_training_keeps_its_start_and_the_times_of_known_epochs(tmp_path):
    path = tmp_path / "live.jsonl"
    before = killed(path, {"epoch": 1}, {"epoch": 2})
    again = LiveFile(path, IDENTITY)
    again.start([{"epoch": 1}])
    again.log({"epoch": 2})
    again.finish()
    after = read_live(path)
    assert after.ended
    assert after.origin == before.origin
    assert after.epochs[0] == before.epochs[0]
    assert after.epochs[1] > before.epochs[1]


def test_a_training_that_begins_anew_has_a_new_start(tmp_path):
    path = tmp_path / "live.jsonl"
    before = killed(path, {"epoch": 1})
    assert killed(path).origin.started > before.origin.started
    killed(path, {"epoch": 1}, identity=replace(IDENTITY, digest="another"))
    again = LiveFile(path, IDENTITY)
    again.start([{"epoch": 1}])
    after = read_live(path)
    assert after.identity == IDENTITY
    assert after.origin.started == after.epochs[0][0]


@pytest.mark.parametrize("rest", ['{"time": 1, "rec', '{"time": 1}\n', '{"record": {"epoch": 9}}\n', "[1]\n5\nnull\n"])
def test_lines_that_are_no_epochs_are_not_read(tmp_path, rest):
    path = tmp_path / "live.jsonl"
    killed(path, {"epoch": 1})
    with path.open("a") as file:
        file.write(rest)
    assert [record for _, record in read_live(path).epochs] == [{"epoch": 1}]


def test_no_file_is_no_training(tmp_path):
    assert read_live(tmp_path / "nothing.jsonl") is None
    assert read_live(tmp_path) is None


def test_listening_costs_no_time(tmp_path):
    live = LiveFile(tmp_path / "live.jsonl", IDENTITY)
    live.start([])
    started = time.monotonic()
    for epoch in range(200):
        live.log({"epoch": epoch, "train/loss_full": 0.5})
    assert time.monotonic() - started < 1, "2 ms on an idle machine"
