"""The wheel, installed into an environment of its own, outside the repository."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_python_api import program
from tests.tools.refusals import files

pytestmark = pytest.mark.slow


class Installed:
    """A virtual environment that has the wheel, and sees the packages of this one, but not its dεps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        wheels, environment = folder / "wheels", folder / "venv"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        self.run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(wheels), str(ROOT))
        self.run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        self.python = environment / "bin/python"
        (own,) = environment.glob("lib/python*/site-packages")
        # A path in a .pth file is searched, but .pth files in it, such as that of an editable dεps, are not read.
        (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (wheel,) = wheels.glob("*.whl")
        self.run(*pip, "--python", str(self.python), "install", "--no-deps", "--no-index", str(wheel))

    def run(self, *command: str, cwd: Path | None = None, code: int = 0) -> str:
        """Both outputs of a command that ends with this code."""
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
        kept |= {"PATH": f"{self.folder / 'venv/bin'}:{os.environ['PATH']}"}
        kept |= {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        done = subprocess.run(command, cwd=cwd or self.folder, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(self, *arguments: str, cwd: Path) -> str:
        """DVC in this environment's Python."""
        return self.run("python", "-m", "dvc", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_what_is_imported_is_the_wheel(installed, tmp_path):
    code = "import deps, dεps, dεps.workspace.project as p; print(dεps.__file__, p.template(), p.code_hash())"
    file, template, own = installed.run("python", "-c", code, cwd=tmp_path).split()
    assert Path(file).is_relative_to(installed.folder)
    assert Path(template) == Path(file).parent / "project"
    # The same code as here, wherever it lies.
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[2] == own


def test_commands_work_in_an_empty_folder(installed, tmp_path):
    assert "full model (6) → shrinking (6)" in installed.run("deps", "plan", "--steps", "0", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    printed = installed.run("deps", "params", "experiment=[quick]", "methods=[deps,rss]", cwd=tmp_path)
    assert printed == "params.yaml: names quick × methods deps, rss × seeds 0, portable\n"
    installed.run("deps", "plan", "--steps", "0", cwd=tmp_path)
    text = installed.run("deps", "latency", "--space", "mbv3_micro", "--unseen", "2", "--arch", "largest", cwd=tmp_path)
    assert "mbv3_micro, " in text
    assert " ms  k5e4-" in text


def test_the_program_of_the_page_runs_and_its_model_classifies(installed, tmp_path):
    (tmp_path / "page.py").write_text(program())
    images = "for number, image in enumerate(waves(24)[0]): Image.fromarray(image).save(f'{number}.png')"
    (tmp_path / "page.py").open("a").write(f"from PIL import Image\n{images}\n")
    printed = installed.run("python", "page.py", cwd=tmp_path)
    assert "train images are float64; expected uint8" in printed
    pictures = [f"{number}.png" for number in range(24)]
    lines = installed.run("deps", "classify", "waves.onnx", *pictures, "--top", "1", cwd=tmp_path).splitlines()
    right = [line.startswith(f"{number}.png: {number % 8} ") for number, line in enumerate(lines)]
    assert len(right) == 24
    assert sum(right) >= 12, "chance is 3"


def test_a_project_begins_in_an_empty_folder(installed, tmp_path):
    assert "go on with: git init && dvc repro" in installed.run("deps", "init", cwd=tmp_path)
    before = files(tmp_path)
    assert installed.run("deps", "init", cwd=tmp_path, code=2).count("\n") == 1
    assert files(tmp_path) == before
    installed.run("git", "init", "-q", cwd=tmp_path)
    installed.run("deps", "params", "experiment=[quick]", "methods=[deps]", cwd=tmp_path)
    assert "train@quick-deps-0" in installed.dvc("status", cwd=tmp_path)
    installed.run("python", "-m", "pipelines.check", cwd=tmp_path)
    assert (tmp_path / "reports/checked/params.json").exists()
    assert "Running stage 'prepare@quick'" in installed.dvc("repro", "prepare@quick", cwd=tmp_path)
    assert (tmp_path / "runs/quick/prepare/manifest.json").exists()
    assert "didn't change" in installed.dvc("repro", "prepare@quick", cwd=tmp_path)
    for command in (["add", "-A"], ["commit", "-qm", "start"]):
        installed.run("git", *command, cwd=tmp_path)
    # dvc exp run composes by the plugin, from this folder's groups and with the same checks.
    refused = installed.run("python", "-m", "dvc", "exp", "run", "-S", "seeds=[a]", cwd=tmp_path, code=255)
    assert refused.startswith("ERROR: seeds[0] is 'a'; expected a whole number")
