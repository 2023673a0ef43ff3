"""The stage in two processes that order sets and dicts of strings differently."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.report.made_up import write_results
from tests.tuning.tables import write_study

pytestmark = pytest.mark.slow


def test_every_file_of_the_report_has_the_same_bytes_again(tmp_path):
    write_results(tmp_path)
    write_study(tmp_path / "study", tmp_path / "runs/quick/tune", trials=10)
    first, second = [_report(tmp_path, seed) for seed in ("1", "2")]
    assert first == second
    assert {path.suffix for path in first} == {".svg", ".pdf", ".png", ".md", ".tex", ".csv", ".html", ".json"}


def _report(folder: Path, seed: str) -> dict[Path, bytes]:
    shutil.rmtree(folder / "reports", ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
    for stage in (["report", "--experiment", "quick"], ["page"]):
        command = [sys.executable, "-m", f"pipelines.{stage[0]}", *stage[1:]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return {path.relative_to(folder): path.read_bytes() for path in (folder / "reports").rglob("*") if path.is_file()}
