from pathlib import Path

import pytest
from click.testing import CliRunner

from dεps.cli import main


@pytest.mark.parametrize("command", ["params", "show", "track"])
def test_every_command_explains_itself(command):
    assert command in CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_errors_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["params"])
    assert result.exit_code == 2
    assert result.output == "error: params/config.yaml does not exist; run this in the project's folder\n"
    assert not Path("params.yaml").exists()
