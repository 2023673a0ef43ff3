import sys

import pytest

from benchmarks import __main__ as benchmarks


@pytest.mark.slow
def test_every_benchmark_runs(tmp_path, monkeypatch, capsys):
    """On next to nothing, so that what it measures means nothing."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--tiny", "--out", str(tmp_path)])
    benchmarks.main()
    assert "written" in capsys.readouterr().out
    page = (tmp_path / "benchmarks.md").read_text()
    for work in ("sandwich step", "peak memory", "batches", "accuracy of 3 archs", "search over", "Optuna study"):
        assert work in page
    assert (tmp_path / "benchmarks.svg").stat().st_size > 0
