import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dεps.cli import main
from tests.conftest import ROOT


@pytest.mark.parametrize("command", ["params", "plan", "tune", "show", "track"])
def test_every_command_explains_itself(command):
    assert command in CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_errors_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["params"])
    assert result.exit_code == 2
    assert result.output == "error: params/config.yaml does not exist; run this in the project's folder\n"
    assert not Path("params.yaml").exists()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The project's folder with its params."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_plan_prints_and_writes_nothing(project):
    before = files(project)
    result = CliRunner().invoke(main, ["plan", "methods=[deps]", "--steps", "0"])
    assert result.exit_code == 0, result.output
    assert "full model (2) → shrinking (2)" in result.output
    assert "1 → 4" in result.output
    assert files(project) == before


def test_plan_of_overrides_and_of_params_yaml(project):
    def planned(*arguments):
        result = CliRunner().invoke(main, ["plan", "--json", "--steps", "0", *arguments])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["experiments"]["quick"]["methods"]

    path = project / "params.yaml"
    path.write_text(path.read_text().replace("shrink_start: 0.5", "shrink_start: 0.25"))
    assert [phase["epochs"] for phase in planned()["deps"]["phases"]] == [1.0, 3.0]
    overrides = ["experiments.quick.methods.deps.shrink_start=0.75", "methods=[deps]"]
    assert [phase["epochs"] for phase in planned(*overrides)["deps"]["phases"]] == [3.0, 1.0]


def test_plan_measures_and_draws(project):
    result = CliRunner().invoke(main, ["plan", "methods=[deps]", "--steps", "1", "--figure", "out/plan.svg"])
    assert result.exit_code == 0, result.output
    assert "time here" in result.stdout
    assert "</svg>" in (project / "out/plan.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiments.quick.methods.deps.shrink_start=7"], "experiments.quick.methods.deps.shrink_start is 7.0"),
        (["nonsense"], "override 'nonsense' is not understood"),
        (["--figure", "plan.jpg"], "--figure is plan.jpg; expected a file name that ends in .svg, .png, .pdf"),
        (["experiments.quick.train.batch_size=9000"], "train.batch_size is 9000; expected at most the 7000 images"),
        (
            ["dataset@experiments.quick.dataset=image_folder"]
            + [f"experiments.quick.dataset.{key}" for key in ("name=m", "root=i", "size=28", "channels=1")],
            "experiments.quick.dataset.train_images is not set",
        ),
    ],
)
def test_plan_refuses_with_one_line(project, arguments, message):
    before = files(project)
    result = CliRunner().invoke(main, ["plan", "--steps", "0", *arguments])
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert message in result.output
    assert result.output.count("\n") == 1
    assert files(project) == before
