"""CONTRIBUTING.md: its examples, put into a copy of the project, compose and train."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dεps.core.params import read_params
from dεps.report.registry import registered
from dεps.report.results import all_results
from dεps.workspace import outputs
from tests.conftest import ROOT
from tests.report import made_up

pytestmark = pytest.mark.slow
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]


def put_files(text: str, folder: Path) -> list[Path]:
    """Write the blocks that a line with a path stands above."""
    found = re.findall(r"^`([\w/.ε]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, content in found:
        assert not (ROOT / name).exists(), f"{name} would replace a file of the project"
        (folder / name).write_text(content)
    return [folder / name for name, _ in found]


def commands(text: str) -> list[list[str]]:
    (block,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]


@pytest.fixture
def copy(tmp_path):
    """The package and its params."""
    for name in ("dεps", "params"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def call(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "deps", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("title", "files", "methods"),
    [("A method", 2, ["deps", "extremes"]), ("A search space", 1, ["deps", "rss"]), ("A data set", 1, ["deps"])],
)
def test_examples_compose_and_train(copy, title, files, methods):
    text = section(title)
    assert len(put_files(text, copy)) == files
    params, plan, repro = commands(text)
    assert (params[0], plan, repro) == ("deps", ["deps", "plan"], ["dvc", "repro"])
    call(copy, *params[1:])
    composed = yaml.safe_load((copy / "params.yaml").read_text())
    assert composed["methods"] == methods
    # A plan with measured times has trained a step of every phase.
    (planned,) = json.loads(call(copy, "plan", "--steps", "1", "--json"))["experiments"].values()
    assert set(methods) <= set(planned["methods"])
    for method in methods:
        assert all(phase["seconds"] > 0 for phase in planned["methods"][method]["phases"])


def test_the_new_method_is_charged_for_its_two_subnets(copy):
    put_files(section("A method"), copy)
    call(copy, *commands(section("A method"))[0][1:])
    (planned,) = json.loads(call(copy, "plan", "--steps", "0", "--json"))["experiments"].values()
    (phase,) = planned["methods"]["extremes"]["phases"]
    assert (phase["name"], phase["subnets"]) == ("extremes", 2)


def test_a_wrong_option_of_the_new_method_is_one_line(copy):
    put_files(section("A method"), copy)
    override = "experiments.quick.methods.extremes.smallest_weight=-1"
    arguments = [*commands(section("A method"))[0][1:], override]
    command = [sys.executable, "-m", "deps", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {override.replace('=', ' is ')}; expected 0 to 1,000\n"


#: prepares what the example of a source has written, as stage `prepare` does
PREPARE = """
import json, sys
from pathlib import Path
import yaml
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.sources.npz import Source
from dεps.sources.prepare import prepare
Source.example(Path())
dataset = yaml.safe_load(Path("params.yaml").read_text())["experiments"]["quick"]["dataset"]
config = structured(DatasetConfig, dataset, "dataset")
Path("out").mkdir()
print(json.dumps(prepare(config, Path("out"))["images"]))
"""


def test_the_new_source_is_prepared(copy):
    text = section("A data source")
    assert len(put_files(text, copy)) == 2
    params, repro = commands(text)
    assert repro == ["dvc", "repro", "prepare@quick"]
    call(copy, *params[1:])
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-c", PREPARE], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"train": 96, "validation": 12, "test": 12}


def test_the_new_figure_is_drawn(copy, tmp_path, monkeypatch):
    (file,) = put_files(section("A figure"), copy)
    (tmp_path / "results").mkdir()
    made_up.write_results(tmp_path / "results")
    monkeypatch.chdir(tmp_path / "results")
    figure = runpy.run_path(str(file))
    drawn = figure["draw"](all_results(read_params())[0])
    assert [tick.get_text() for tick in drawn.axes[0].get_xticklabels()] == ["DεpS", "RSS"]
    assert drawn.axes[0].has_data()
    assert figure["ABOUT"].order not in {other.about.order for other in registered()}


def test_the_new_metric_is_a_column_of_the_table():
    (code,) = re.findall(r"```python\n(.*?)```", section("A metric"), re.DOTALL)
    metric = eval(code, vars(outputs))
    assert metric.of(pd.DataFrame(), pd.DataFrame({"test_top1": [70.0, 72.5]})) == 72.5
    assert (metric.shown, metric.heading) == (True, "best of the population (%)")
    assert metric.key not in {other.key for other in outputs.EVALUATED}


def test_examples_are_well_formed(copy):
    titles = ("A method", "A search space", "A data source", "A data set", "A figure")
    paths = [path for title in titles for path in put_files(section(title), copy)]
    scripts = [str(path) for path in paths if path.suffix == ".py"]
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            ["ruff", *command, "--config", str(ROOT / "pyproject.toml"), *scripts], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_links_lead_somewhere():
    for name in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / name).exists(), name


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert len(citation["preferred-citation"]["authors"]) == 7
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
