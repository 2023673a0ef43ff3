"""dvc.yaml against the code: each stage depends on the folders that its script imports from, and on no others."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dεps.workspace import decides
from tests.conftest import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES, METRICS = PIPELINE["stages"], PIPELINE["metrics"]


def test_a_new_clone_tracks():
    """Results may be those of dvc.lock where the MLflow store is empty: the stage needs an output that is not there."""
    (out,) = STAGES["track"]["outs"][0]
    assert subprocess.run(["git", "check-ignore", "-q", out], cwd=ROOT, check=False).returncode == 0
    assert STAGES["track"]["outs"][0][out] == {"cache": False}


def test_the_check_is_never_taken_from_dvcs_cache_of_runs():
    """DVC leaves keys named size and nfiles out of what that cache compares; stages of kept outputs are not in it."""
    assert STAGES["check"]["outs"] == [{"reports/checked": {"persist": True}}]


def test_the_lock_holds_no_experiment_that_is_not_here():
    """DVC parses and writes all of it after each stage: what was tried elsewhere would cost everyone."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    presets = {path.stem for path in (ROOT / "params" / "experiment").glob("*.yaml")}
    assert {re.split("[@-]", name)[1] for name in stages if "@" in name} <= presets


def test_dvc_shows_the_reports_numbers_and_not_those_of_each_run():
    assert not any("metrics" in stage for stage in STAGES.values())
    (file,) = METRICS
    assert file.startswith(next(iter(STAGES["report"]["outs"][0])).replace("${item.experiment}", "${names[0]}") + "/")
    there = file.replace("${names[0]}", "quick")
    assert subprocess.run(["git", "check-ignore", "-q", there], cwd=ROOT, check=False).returncode == 1, "not in git"


def imports(file: Path) -> set[Path]:
    """Files of the project that a file imports anywhere, inside functions and for types too."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        for name in names:
            path = ROOT.joinpath(*name.split("."))
            found |= {one for one in (path.with_suffix(".py"), path / "__init__.py") if one.exists()}
    return {path for path in found if path.relative_to(ROOT).parts[0] in ("dεps", "pipelines") and path.stat().st_size}


def closure(script: Path) -> set[str]:
    """All files of the project that a script runs, but for those that are found by a name in params."""
    seen: set[Path] = set()
    todo = [script]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += imports(file)
    return {file.relative_to(ROOT).as_posix() for file in seen}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_folders_that_the_script_imports_from(stage):
    deps = [dep for dep in STAGES[stage]["deps"] if dep.startswith("dεps")]
    used = {"/".join(file.split("/")[:2]) for file in closure(ROOT / "pipelines" / f"{stage}.py")} - {"pipelines"}
    used = {folder for folder in used if folder.startswith("dεps/")}
    if stage in decides.STAGES:
        used -= {"dεps/methods"}  # whose code is compared below
    if "dεps/spaces" in used:
        used |= {"dεps/nets"}  # a space's family is found by its name
    if deps != ["dεps"]:
        assert sorted(used - set(deps)) == [], "imported, but not under deps"
        assert sorted(set(deps) - used) == [], "under deps, but not imported"


@pytest.mark.parametrize("stage", decides.STAGES)
def test_dvc_yaml_says_what_decides_a_stage(stage):
    said, own = decides.STAGES[stage], STAGES[stage]
    where = "experiments.${item.experiment}."
    params = [*said.top, *(where + section for section in said.sections)]
    params += [where + "methods.${item.method}"] if said.method else []
    assert own["params"] == params
    code = [f"pipelines/{stage}.py", *sorted(f"dεps/{folder}" for folder in said.code)]
    if said.methods:
        code.append(f"reports/checked/${{item.experiment}}/{stage}{'-${item.method}' * said.method}.json")
    code += ["reports/checked/params.json"] if stage == "prepare" else []
    assert own["deps"] == [*code, *(f"runs/${{item.experiment}}/{path}" for path in said.inputs)]


@pytest.mark.parametrize("stage", [stage for stage, said in decides.STAGES.items() if said.methods])
def test_code_of_methods_that_a_stage_runs_is_among_what_decides(stage):
    run = {file for file in closure(ROOT / "pipelines" / f"{stage}.py") if file.startswith("dεps/methods/")}
    named = {path.relative_to(ROOT).as_posix() for path in decides.method_files(*decides.STAGES[stage].methods)}
    by_name = {"tune": {"dεps/methods/deps.py"}}  # the method that it tunes
    assert named == run | by_name.get(stage, set())


def test_an_edit_of_a_method_changes_the_code_of_that_method_only(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "dεps/methods", tmp_path / "dεps/methods")
    monkeypatch.setattr(decides, "PACKAGE", tmp_path / "dεps")
    decides.method_files.cache_clear()
    names = [path.stem for path in sorted((tmp_path / "dεps/methods").glob("*.py"))]

    def hashes() -> dict[str, str]:
        return {name: decides.hash_of(decides.method_files("registry", name)) for name in names}

    before = hashes()
    edited = tmp_path / "dεps/methods/rss.py"
    edited.write_text(edited.read_text() + "# edited\n")
    after = hashes()
    decides.method_files.cache_clear()
    assert {name for name in names if before[name] != after[name]} == {"rss", "rss_short"}


def test_there_is_one_script_a_stage():
    scripts = {path.stem for path in (ROOT / "pipelines").glob("*.py")} - {"__init__"}
    assert scripts == set(STAGES)


def test_drawing_never_retrains():
    for stage in set(STAGES) - {"report", "page"}:
        assert not any("dεps/report" in dep for dep in STAGES[stage]["deps"])


def test_only_evaluation_reads_test_data():
    readers = {path.stem for path in (ROOT / "pipelines").glob("*.py") if "data.test" in path.read_text()}
    assert readers == {"evaluate", "reference", "export", "finetune"}
