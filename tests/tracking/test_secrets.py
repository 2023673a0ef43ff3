"""Passwords in the environment stay there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.planning.check import compose_params
from tests.conftest import ROOT, quick_params
from tests.tools.refusals import files, refusal
from tests.workspace.test_full_disk import STEP, environment, make_project

PASSWORD = "ge8heim"
#: nobody answers there
SECRETS = {
    "DEPS_STUDY_STORAGE": f"postgresql://me:{PASSWORD}@127.0.0.1:9/studies",
    "MLFLOW_TRACKING_URI": f"http://me:{PASSWORD}@127.0.0.1:9",
}


def holders(folder: Path) -> list[str]:
    """Files that hold the password."""
    return [name for name, content in files(folder).items() if PASSWORD.encode() in content]


@pytest.mark.parametrize("reference", ["${oc.env:DEPS_STUDY_STORAGE}", "a${oc.env:MLFLOW_TRACKING_URI,b}"])
@pytest.mark.parametrize("key", ["experiments.quick.dataset.name", "launch", "experiments.quick.train.device"])
def test_params_do_not_read_the_environment(tmp_path, monkeypatch, key, reference):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    message = refusal(lambda: compose_params([f"{key}='{reference}'"], ROOT / "params", tmp_path / "params.yaml"), key)
    assert PASSWORD not in message
    assert list(tmp_path.iterdir()) == []


def test_a_stage_does_not_resolve_references(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = quick_params()
    params["experiments"]["quick"]["dataset"]["name"] = "${oc.env:DEPS_STUDY_STORAGE}"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    result = CliRunner().invoke(main, ["plan", "--steps", "0"], env=SECRETS)
    assert result.exit_code == 2
    assert PASSWORD not in result.output


@pytest.mark.slow
def test_no_file_and_no_line_holds_a_password(tmp_path):
    folder = make_project(tmp_path / "project")
    (folder / "params").symlink_to(ROOT / "params")
    own = environment() | SECRETS
    commands = [
        STEP,
        ["-m", "deps", "track"],
        ["-m", "pipelines.track"],
        ["-m", "deps", "tune", "--trials", "9"],
        ["-m", "deps", "plan", "--steps", "0", "methods=[deps]"],
        ["-m", "deps", "params", "methods=[deps]"],
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=own, capture_output=True, text=True, timeout=120, check=False
        )
        assert PASSWORD not in done.stdout + done.stderr, command
        assert "Traceback" not in done.stderr, done.stderr
    assert files(folder / "runs")
    assert holders(folder) == []
