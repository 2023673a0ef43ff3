import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.deploy.latency import timing
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params").symlink_to(ROOT / "params")
    monkeypatch.setattr(timing, "ROUNDS", 3)
    monkeypatch.setattr(timing, "SAMPLE", 1e-4)


def run(*arguments):
    return CliRunner().invoke(main, ["latency", "--space", "mbv3_micro", "--unseen", "4", *arguments])


def test_a_table_is_measured_once(monkeypatch):
    first = run("--arch", "smallest", "--arch", "largest", "--json")
    assert first.exit_code == 0, first.output
    data = json.loads(first.stdout)
    assert (data["space"], data["engine"], data["batch"], data["classes"]) == ("mbv3_micro", "onnxruntime", 1, 10)
    small, large = data["archs"].values()
    assert 0 < small < large
    stored = Path(data["table"]).read_text()
    monkeypatch.setattr("dεps.deploy.latency.command.measure_table", None)
    again = run("--arch", "smallest", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["archs"] == {key: data["archs"][key] for key in list(data["archs"])[:1]}
    assert Path(data["table"]).read_text() == stored
    text = run("--arch", "largest").stdout
    assert "error on 4 unseen archs: median" in text
    assert "40 kinds of layers" in text


def test_a_named_table_is_refused_where_it_does_not_fit_and_a_damaged_own_one_measured_again():
    assert run("--out", "here.json").exit_code == 0
    other = run("--out", "here.json", "--batch", "2")
    assert other.exit_code == 2
    assert "'deps latency --again' measures anew" in other.stderr
    Path("here.json").write_text("{}")
    assert "here.json" in run("--out", "here.json").stderr
    own = Path(json.loads(run("--json").stdout)["table"])
    own.write_text("{}")
    assert run().exit_code == 0
    assert json.loads(own.read_text())["layers"]
