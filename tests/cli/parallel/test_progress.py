"""What is shown of items that run, and how the time that is left is estimated."""

import json

import pytest

from dεps.cli.parallel import progress
from dεps.cli.parallel.progress import Board, Durations, last_line, minutes, steps, timing_path

#: two chains, a → c → e and b → d → e
UPSTREAM = {"a@x": (), "b@x": (), "c@x": ("a@x",), "d@x": ("b@x",), "e": ("c@x", "d@x")}


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def note(name: str, seconds: float) -> None:
    path = timing_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seconds": seconds}))


def test_durations_are_the_items_own_else_those_of_items_most_like_it():
    for name, seconds in {"deps-0": 10.0, "deps-1": 20.0, "deps_x-0": 70.0, "ofa-0": 40.0}.items():
        note(f"train@quick-{name}", seconds)
    note("prepare@quick", 3.0)
    note("train@cifar10-deps-0", 9000.0)
    assert str(timing_path("prepare@quick")) == ".state/timing/quick/prepare/all.json"
    assert str(timing_path("train@quick-deps-0")) == ".state/timing/quick/train/deps-0.json"
    names = [f"train@quick-{name}" for name in ("deps-0", "deps-1", "deps-2", "deps_x-0", "ofa-0", "rss-0")]
    durations = Durations([*names, "prepare@quick", "prepare@other", "train@cifar10-deps-0", "page"])
    assert durations.of("train@quick-deps-1") == 20.0
    assert durations.of("train@quick-deps-2") == 15.0  # of other seeds
    durations.known["train@quick-deps-10"] = 90.0  # no duration of seed 1
    assert durations.of("train@quick-deps-1") == 20.0
    del durations.known["train@quick-deps-10"]
    assert durations.of("train@quick-rss-0") == 35.0  # of other methods
    assert durations.of("prepare@quick") == 3.0
    assert durations.of("prepare@other") is durations.of("page") is Durations([]).of("page") is None
    durations.expected["train@quick-rss-1"] = 50.0  # it runs
    assert durations.of("train@quick-rss-0") == 50.0


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
    log.write_text("train quick: 1/20, 3:10 left\ntrain quick: 3/20, 2:50 left\nsaved\n")
    assert steps(log) == ("3/20", 170.0)
    log.write_text("train quick: 4/20, 2:03:20 left\nsaved\n")
    assert steps(log) == ("4/20", 7400.0)
    assert last_line(log) == "saved"
    log.write_text("error: params.yaml: x is 7\nERROR: failed to reproduce 'train': exited with 2\nUse `dvc push`\n")
    assert last_line(log) == "error: params.yaml: x is 7"
    log.write_text("ERROR: failed to reproduce 'train': killed\nUse `dvc push`\n")
    assert last_line(log) == "ERROR: failed to reproduce 'train': killed"


def test_what_is_left_is_told_in_minutes():
    texts = [minutes(seconds) for seconds in (3, 44.9, 45, 89, 725, 26_611)]
    assert texts == ["under a minute", "under a minute", "1 min", "1 min", "12 min", "7 h 24 min"]


def test_without_a_terminal_there_is_a_line_a_minute_with_what_is_left(tmp_path, monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    durations = Durations([])
    durations.known = {"a@x": 40.0, "b@x": 40.0, "c@x": 100.0, "d@x": 30.0, "e": 5.0}
    logs = {name: tmp_path / name for name in UPSTREAM}
    logs["c@x"].write_text("train: 2/4, 1:10 left\n")
    with Board(UPSTREAM, durations, logs) as board:
        for now in (0.0, 30.0, 61.0, 90.0):  # noqa: B007 - read by monotonic
            board.show({"c@x": 20.0, "b@x": 41.0}, ["d@x", "e"], 0, 2)
    # a is done; c says itself what is left, b has taken 20 of 40 s, d and e follow: 20 + 30 + 5 < 70 + 5
    line = "1 of 5 items done, about 1 min left; running: c@x 0:41 (2/4), b@x 0:20"
    assert capsys.readouterr().err.splitlines() == [line]


def test_where_durations_are_unknown_no_time_is_promised(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", -1.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    upstream = {"full_model@x-0": (), "train@x-a-0": ("full_model@x-0",), "train@x-b-0": ("full_model@x-0",)}
    upstream |= {"tune@x": ("full_model@x-0",), "page": ("train@x-a-0", "train@x-b-0", "tune@x")}
    logs = {name: tmp_path / name for name in upstream}
    durations, left = Durations([]), list(upstream)

    def shown(running: dict[str, float]) -> str:
        for name in running:
            if name in left:
                left.remove(name)
        board.show(running, left, 0, 2)
        return capsys.readouterr().err.strip()

    with Board(upstream, durations, logs) as board:
        assert shown({"full_model@x-0": 100.0}) == "0 of 5 items done; running: full_model@x-0 0:00"
        # it says itself how long it lasts, which says nothing of the others
        logs["full_model@x-0"].write_text("full_model x: 1/4, 2:10 left\n")
        assert shown({"full_model@x-0": 90.0}).startswith("0 of 5 items done, at least 2 min left; ")
        # a training of 100 s, and so the other one; a study tells of one of its trainings only
        logs["train@x-a-0"].write_text("train x: 2/4, 0:40 left\n")
        logs["tune@x"].write_text("tune x: 2/4, 0:40 left\n")
        line = "1 of 5 items done, at least 2 min left; running: train@x-a-0 1:00 (2/4), tune@x 0:40 (2/4)"
        assert shown({"train@x-a-0": 40.0, "tune@x": 60.0}) == line
        durations.known |= {"tune@x": 100.0, "page": 5.0}
        assert shown({"train@x-a-0": 40.0, "tune@x": 60.0}).startswith("1 of 5 items done, about 2 min left; ")
