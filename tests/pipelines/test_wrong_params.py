"""Wrong params end `dvc exp run` and `dvc repro` before a stage runs and before DVC empties what they name."""

import subprocess

import pytest
import yaml
from dvc.repo import Repo

from tests.pipelines.clone import Clone, ran


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("wrong"))


def dvc(clone, *arguments: str) -> tuple[int, str]:
    """Exit code and both streams of a DVC command."""
    done = subprocess.run(
        ["dvc", *arguments], cwd=clone.folder, env=clone.environment(), capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_an_experiment_with_wrong_params_says_so_in_one_line(clone):
    params = (clone.folder / "params.yaml").read_text("utf-8")
    code, output = dvc(clone, "exp", "run", "-S", "methods=[depss]")
    assert code != 0
    assert output.strip().startswith("ERROR: methods holds 'depss', but there is no 'experiments.quick.methods.depss'")
    assert "\n" not in output.strip()
    assert (clone.folder / "params.yaml").read_text("utf-8") == params
    assert not (clone.folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stages"),
    [(".", []), (".", ["-s", "prepare@."]), ("..", ["-s", "prepare@.."]), ("..", ["-s", "report@.."])],
)
def test_a_name_written_by_hand_deletes_nothing_and_runs_nothing(clone, name, stages):
    path, kept = clone.folder / "params.yaml", clone.folder / "runs/other/images"
    before = path.read_text("utf-8")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("hours of work")
    (clone.folder / "reports").mkdir(exist_ok=True)
    (clone.folder / "reports/checked").mkdir(exist_ok=True)
    (clone.folder / "reports/checked/params.json").write_text("{}")  # of an earlier run, so that -s finds it
    params = yaml.safe_load(before)
    path.write_text(yaml.safe_dump(params | {"names": [name], "experiments": {name: params["experiments"]["quick"]}}))
    code, output = dvc(clone, "repro", *stages)
    path.write_text(before, "utf-8")
    assert code != 0
    if stages:  # which skips the check; DVC itself refuses a dependency `runs/..`
        assert f"error: argument --experiment: it holds '{name}'; expected" in output or "failed to repro" in output
    else:
        assert ran(output) == {"check"}
        assert f"error: experiments holds '{name}'; expected a name of up to 100 letters, digits and _-, beg" in output
    assert kept.read_text() == "hours of work"
    assert (clone.folder / "dεps/workspace/stage.py").exists()
    assert (clone.folder / "reports").exists()


@pytest.mark.slow
def test_commands_quote_what_params_hold(clone):
    """For who asks for one stage, which runs without the check."""
    path = clone.folder / "params.yaml"
    before = path.read_text("utf-8")
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"standalone": ["x; touch y; $(touch y)"]}))
    commands = [stage.cmd for stage in Repo(str(clone.folder)).index.stages if "pipelines.standalone" in stage.cmd]
    path.write_text(before, "utf-8")
    assert commands == ["python -m pipelines.standalone --experiment quick --arch 'x; touch y; $(touch y)' --seed 0"]
