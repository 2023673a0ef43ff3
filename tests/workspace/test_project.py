"""A project outside the repository: what `deps init` writes, what it refuses, and what a change of code means there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.workspace import project
from dεps.workspace.presets import load_space, unchecked
from tests.cli.test_bad_commands import environment
from tests.conftest import ROOT, default_text
from tests.tools.refusals import assert_refused, files


def init(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["init", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_whole_project(elsewhere):
    code, output = init("mine")
    folder = elsewhere / "mine"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert (code, output) == (0, f"mine: {len(there)} files; go on with: git init && dvc repro\n")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {name for name in tracked.split("\0") if name.startswith(("params/", "pipelines/", ".dvc/"))}
    assert expected | {"dvc.yaml", "params.yaml", "deps.version", ".gitignore", ".dvcignore"} <= there
    assert {name for name in there if "__pycache__" in name} == set()
    for name in expected:
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert (folder / "params.yaml").read_text() == default_text()


def test_stages_depend_on_the_version_in_the_place_of_code(elsewhere):
    init()
    own, theirs = (yaml.safe_load((folder / "dvc.yaml").read_text()) for folder in (elsewhere, ROOT))
    for name, stage in theirs["stages"].items():
        code = [dep for dep in stage["deps"] if dep.split("/")[0] == "dεps"]
        assert code, name
        rest = [dep for dep in stage["deps"] if dep not in code]
        assert sorted(own["stages"][name].pop("deps")) == sorted([*rest, "deps.version"])
        stage.pop("deps")
    assert own == theirs
    assert not re.search("^ *- dεps", (elsewhere / "dvc.yaml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml", ".gitignore", "params/space/mbv3_micro.yaml", "pipelines"])
def test_init_replaces_nothing(elsewhere, name):
    path = elsewhere / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine\n")
    before = files(elsewhere)
    code, output = init()
    assert code == 2
    assert output == f"error: {name} is there already; move it away, or name an empty folder\n"
    assert files(elsewhere) == before


def test_init_leaves_nothing_half_written(elsewhere, monkeypatch):
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "dvc.yaml")

    monkeypatch.setattr(project.shutil, "copyfile", full)
    code, output = init("mine")
    assert (code, output) == (2, "error: dvc.yaml: No space left on device\n")
    assert list((elsewhere / "mine").iterdir()) == []


def test_upgrade_takes_over_the_code_and_names_what_differs(elsewhere):
    init()
    (elsewhere / "deps.version").write_text("deps-workbench 0.0.9 0123456789abcdef\n")
    (elsewhere / "pipelines/train.py").unlink()
    (elsewhere / "dvc.yaml").write_text("stages: {}\n")
    (elsewhere / "params.yaml").write_text("mine: 1\n")
    code, output = init("--upgrade")
    assert code == 0
    assert output.splitlines() == [
        "deps.version: the installed version; 'dvc repro' makes all results anew",
        "written, since missing: pipelines/train.py",
        "not as this version has them: dvc.yaml; to take its own, move them away and call this again",
    ]
    assert (elsewhere / "deps.version").read_text() == f"{project.version_text()}\n"
    assert (elsewhere / "dvc.yaml").read_text() == "stages: {}\n"
    assert (elsewhere / "params.yaml").read_text() == "mine: 1\n"
    assert (elsewhere / "pipelines/train.py").read_bytes() == (ROOT / "pipelines/train.py").read_bytes()


def test_upgrade_of_what_is_no_project_is_refused(elsewhere):
    assert init("--upgrade") == (2, "error: deps.version does not exist; 'deps init' begins a project\n")
    assert list(elsewhere.iterdir()) == []


def test_code_of_another_version_is_refused_by_stages(elsewhere):
    project.check_code()  # no project
    init()
    project.check_code()
    text = (elsewhere / "deps.version").read_text()
    (elsewhere / "deps.version").write_text(text[:-2] + ("0" if text[-2] != "0" else "1") + "\n")
    with pytest.raises(UserError, match=r"^deps\.version says 'deps-workbench .*; install what it says, or take over"):
        project.check_code()
    command = [sys.executable, "-m", "pipelines.check"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120, check=False)
    assert_refused(done, 2, "deps.version")
    assert not Path("reports/checked").exists()


def test_the_code_hash_sees_every_file(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "PACKAGE", tmp_path)
    (tmp_path / "core").mkdir()
    (tmp_path / "core/a.py").write_text("a = 1\n")
    first = project.code_hash()
    (tmp_path / "core/__pycache__").mkdir()
    (tmp_path / "core/__pycache__/a.pyc").write_text("x")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/dvc.yaml").write_text("x")
    assert project.code_hash() == first
    (tmp_path / "core/b.css").write_text("")
    second = project.code_hash()
    (tmp_path / "core/a.py").write_text("a = 2\n")
    assert len({first, second, project.code_hash()}) == 3


def test_presets_of_the_package_stand_in_where_there_are_none(elsewhere):
    assert load_space("mbv3_micro").name == "mbv3_micro"
    assert unchecked([])[1] == default_text()
    (elsewhere / "params/space").mkdir(parents=True)
    with pytest.raises(UserError, match="params/space holds no space"):
        load_space("mbv3_micro")
    with pytest.raises(UserError, match=r"params/config\.yaml does not exist"):
        unchecked([])


def test_the_wheel_holds_what_a_project_is_made_of():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    # With what is published, which `dεps.published` reads.
    names = [name.removesuffix("/README.md") for name in project.FILES]
    assert build["force-include"] == {name: f"dεps/project/{name}" for name in names}
