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
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods=deps", "ERROR: methods is 'deps'; expected a non-empty list of methods, such as [deps, rss]"),
        ("experiments.quick.train.lr=1", "ERROR: experiments.quick.train.lr is no known key; allowed: epochs, batch"),
    ],
)
def test_an_experiment_with_wrong_params_says_so_in_one_line(clone, override, message):
    params = (clone.folder / "params.yaml").read_text()
    code, output = dvc(clone, "exp", "run", "-S", override)
    assert code != 0
    (line,) = [line for line in output.splitlines() if line.strip()]
    assert line.startswith(message)
    assert (clone.folder / "params.yaml").read_text() == params
    assert not (clone.folder / "data").exists()


@pytest.mark.slow
def test_an_experiment_composes_what_deps_params_writes(clone):
    """DVC's own composition is the same text, so a queue and `dvc repro` find each other's results."""
    before = (clone.folder / "params.yaml").read_text()
    clone.call("git", "commit", "-qam", "params")
    overrides = [*clone.overrides, "seeds=[3]"]
    code, output = dvc(clone, "exp", "run", "--queue", *(part for text in overrides for part in ("-S", text)))
    assert code == 0, output
    stash = clone.call("git", "show", "refs/exps/celery/stash:params.yaml")
    clone.call("deps", "params", *overrides)
    assert stash == (clone.folder / "params.yaml").read_text()
    (clone.folder / "params.yaml").write_text(before)


@pytest.mark.slow
def test_names_written_by_hand_delete_nothing_and_run_nothing(clone):
    path, kept = clone.folder / "params.yaml", clone.folder / "data/other/images"
    before = path.read_text("utf-8")
    kept.parent.mkdir(parents=True)
    kept.write_text("hours of work")
    params = yaml.safe_load(before)
    experiments = {".": params["experiments"]["quick"], "x; touch y": params["experiments"]["quick"]}
    path.write_text(yaml.safe_dump(params | {"names": list(experiments), "experiments": experiments}))
    code, output = dvc(clone, "repro")
    path.write_text(before, "utf-8")
    assert code != 0
    assert ran(output) == {"check"}
    assert "error: experiments holds '.'; expected a name of up to 100 letters, digits and _-, beginning" in output
    assert kept.read_text() == "hours of work"
    assert not (clone.folder / "y").exists()


@pytest.mark.slow
def test_commands_quote_what_params_hold(clone):
    """For who asks for one stage, which runs without the check."""
    path = clone.folder / "params.yaml"
    before = path.read_text("utf-8")
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"standalone": ["x; touch y; $(touch y)"]}))
    commands = [stage.cmd for stage in Repo(str(clone.folder)).index.stages if "pipelines.standalone" in stage.cmd]
    path.write_text(before, "utf-8")
    assert commands == ["python -m pipelines.standalone --experiment quick --arch 'x; touch y; $(touch y)' --seed 0"]
