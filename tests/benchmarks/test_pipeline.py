"""What `make bench` makes of the notes of a whole run."""

import pytest

from benchmarks import pipeline
from dεps.cli.parallel.run import NOTE
from dεps.core.files import write_json

STAGES = ("prepare", "train", "evaluate", "search", "export", "tune")


def test_a_whole_run_is_measured_by_the_cores_seconds_of_all_its_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    assert pipeline.whole_repro() is None
    write_json(tmp_path / NOTE, {"started": 100.0, "seconds": 75.0, "busy": 130.0, "jobs": 2, "items": 8})
    for number, stage in enumerate(STAGES):
        note = {"started": 101.0 + number, "seconds": 30.0, "computing": 25.0, "computing_cores": 20.0}
        write_json(tmp_path / f".state/timing/quick/{stage}/all.json", note)
    row = pipeline.whole_repro()
    assert row.ratio == pytest.approx(130 / 120)
    assert row.work == "whole `deps repro -j 2` of `quick`"
    assert "8 items in 75 s" in row.note
    write_json(tmp_path / ".state/timing/quick/tune/all.json", note | {"started": 99.0})  # of an earlier run
    assert pipeline.whole_repro() is None
