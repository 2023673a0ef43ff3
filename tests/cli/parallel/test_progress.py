"""What is shown of items that run, and how the time that is left is estimated."""

import json

import pytest

from dεps.cli.parallel import progress
from dεps.cli.parallel.progress import Board, Durations, clock, last_line, steps, timing_path

#: two chains, a → c → e and b → d → e
UPSTREAM = {"a@x": (), "b@x": (), "c@x": ("a@x",), "d@x": ("b@x",), "e": ("c@x", "d@x")}


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def note(name: str, seconds: float) -> None:
    path = timing_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seconds": seconds}))


def test_durations_are_the_items_own_else_the_mean_of_its_stage():
    note("train@quick-deps-0", 10.0)
    note("train@quick-ofa-0", 30.0)
    note("prepare@quick", 3.0)
    assert str(timing_path("prepare@quick")) == ".state/timing/quick/prepare/all.json"
    assert str(timing_path("train@quick-deps-0")) == ".state/timing/quick/train/deps-0.json"
    durations = Durations(["train@quick-deps-0", "train@quick-ofa-0", "train@quick-rss-0", "prepare@quick", "page"])
    assert durations.of("train@quick-ofa-0") == 30.0
    assert durations.of("train@quick-rss-0") == 20.0
    assert durations.of("page") is None
    assert durations.guess("page") == pytest.approx(43 / 3)
    assert durations.guess("train@quick-rss-0") == 20.0
    assert Durations([]).guess("page") is None


def test_the_longest_way_counts_all_that_stand_on_an_item():
    durations = Durations([])
    durations.known = {"a@x": 1.0, "b@x": 2.0, "c@x": 50.0, "d@x": 4.0, "e": 8.0}
    assert durations.longest_way(UPSTREAM) == {"a@x": 59.0, "b@x": 14.0, "c@x": 58.0, "d@x": 12.0, "e": 8.0}


def test_a_study_of_which_nothing_is_known_begins_before_trainings():
    upstream = {"full_model@x": (), "train@x": ("full_model@x",), "tune@x": ("full_model@x",), "export@x": ("train@x",)}
    way = Durations([]).longest_way(upstream)
    assert way == {"full_model@x": 55.0, "train@x": 6.0, "tune@x": 50.0, "export@x": 1.0}
    durations = Durations([])
    durations.known = {"tune@x": 2.0, "export@x": 4.0}
    assert durations.longest_way(upstream)["train@x"] == 5 * 3.0 + 4.0
    assert durations.longest_way(upstream)["tune@x"] == 2.0


def test_a_log_says_how_far_an_item_is_and_why_it_failed(tmp_path):
    log = tmp_path / "log"
    assert steps(log) is None
    assert last_line(log) == "no log"
    log.write_text("train quick: 1/20, 190 s left\ntrain quick: 3/20, 170 s left\nsaved\n")
    assert steps(log) == ("3/20", 170.0)
    assert last_line(log) == "saved"
    log.write_text("error: params.yaml: x is 7\nERROR: failed to reproduce 'train': exited with 2\nUse `dvc push`\n")
    assert last_line(log) == "error: params.yaml: x is 7"
    log.write_text("ERROR: failed to reproduce 'train': killed\nUse `dvc push`\n")
    assert last_line(log) == "ERROR: failed to reproduce 'train': killed"


def test_clock():
    assert [clock(seconds) for seconds in (0.4, 59.6, 187, 3601)] == ["0:00", "1:00", "3:07", "1:00:01"]


def test_without_a_terminal_there_is_a_line_a_minute_with_what_is_left(tmp_path, monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    durations = Durations([])
    durations.known = {"a@x": 40.0, "b@x": 40.0, "c@x": 100.0, "d@x": 30.0, "e": 5.0}
    logs = {name: tmp_path / name for name in UPSTREAM}
    logs["c@x"].write_text("train: 2/4, 70 s left\n")
    with Board(UPSTREAM, durations, logs) as board:
        for now in (0.0, 30.0, 61.0, 90.0):  # noqa: B007 - read by monotonic
            board.show({"c@x": 20.0, "b@x": 41.0}, ["d@x", "e"], 0, 2)
    # a is done; c says itself what is left, b has taken 20 of 40 s, d and e follow: 20 + 30 + 5 < 70 + 5
    line = "1 of 5 items done, about 1:15 left; running: c@x 0:41 (2/4), b@x 0:20"
    assert capsys.readouterr().err.splitlines() == [line]


def test_where_no_duration_is_known_no_time_is_promised(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", -1.0)
    with Board(UPSTREAM, Durations([]), {name: tmp_path / name for name in UPSTREAM}) as board:
        board.show({}, ["c@x"], 1, 2)
    assert capsys.readouterr().err == "3 of 5 items done, 1 failed; running: \n"
