from dεps.identity import run_identity
from dεps.live import LiveRun, read_live
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
