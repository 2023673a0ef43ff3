"""dvc.yaml against the code: each stage depends on the folders that its script imports from, and on no others."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from dεps.workspace.identity import SECTIONS
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_a_new_clone_tracks():
    """Results may be those of dvc.lock where the MLflow store is empty: the stage needs an output that is not there."""
    (out,) = STAGES["track"]["outs"][0]
    assert subprocess.run(["git", "check-ignore", "-q", out], cwd=ROOT, check=False).returncode == 0
    assert STAGES["track"]["outs"][0][out] == {"cache": False}


def test_the_check_is_never_taken_from_dvcs_cache_of_runs():
    """DVC leaves keys named size and nfiles out of what that cache compares; stages of kept outputs are not in it."""
    assert STAGES["check"]["outs"] == [{"reports/checked.json": {"persist": True}}]


def test_the_lock_holds_no_experiment_that_is_not_here():
    """DVC parses and writes all of it after each stage: what was tried elsewhere would cost everyone."""
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    presets = {path.stem for path in (ROOT / "params" / "experiment").glob("*.yaml")}
    assert {re.split("[@-]", name)[1] for name in stages if "@" in name} <= presets


def module_file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists() and candidate.stat().st_size:
            return candidate
    return None


def imports(file: Path) -> set[str]:
    """Modules imported anywhere in the file, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {module for module in found if module.split(".")[0] in ("dεps", "pipelines")}


def by_name(file: Path) -> list[Path]:
    """Modules that a file imports by a name from params."""
    if file.parts[-2:] == ("methods", "registry.py"):
        return list(file.parent.glob("*.py"))
    return list(ROOT.glob("dεps/nets/*/geometry.py")) if file.parts[-2:] == ("spaces", "space.py") else []


def closure(script: Path) -> set[str]:
    seen: set[Path] = set()
    todo = [script]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += [path for module in imports(file) if (path := module_file(module))]
            todo += [path for path in by_name(file) if path.stat().st_size]
    return {file.relative_to(ROOT).as_posix() for file in seen}


def covered(deps: list[str]) -> set[str]:
    """Python files that a stage's deps name, folders expanded."""
    files = set()
    for dep in deps:
        path = ROOT / dep
        if path.is_dir() and dep.startswith("dεps"):
            files |= {f.relative_to(ROOT).as_posix() for f in path.rglob("*.py") if f.stat().st_size}
        elif dep.endswith(".py"):
            files.add(dep)
    return files


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_folders_of_the_import_closure(stage):
    declared, actual = covered(STAGES[stage]["deps"]), closure(ROOT / "pipelines" / f"{stage}.py")
    assert sorted(actual - declared) == [], "imported, but not under deps"
    unused = [dep for dep in STAGES[stage]["deps"] if dep.startswith("dεps/") and not covered([dep]) & actual]
    assert unused == [], "under deps, but not imported"


def test_there_is_one_script_a_stage():
    scripts = {path.stem for path in (ROOT / "pipelines").glob("*.py")} - {"__init__"}
    assert scripts == set(STAGES)


def test_drawing_never_retrains():
    for stage in set(STAGES) - {"report", "page"}:
        assert not any("dεps/report" in dep for dep in STAGES[stage]["deps"])


def test_only_evaluation_reads_test_data():
    readers = {path.stem for path in (ROOT / "pipelines").glob("*.py") if "data.test" in path.read_text()}
    assert readers == {"evaluate", "reference", "export"}


def test_a_method_depends_on_its_own_params_only():
    own = [key for key in STAGES["train"]["params"] if "methods" in key]
    assert own == ["experiments.${item.experiment}.methods.${item.method}"]


def test_identity_covers_every_section_that_a_methods_stages_use():
    used = {
        key.removeprefix("experiments.${item.experiment}.").split(".")[0]
        for stage in ("prepare", "train", "evaluate", "predict", "search")
        for key in STAGES[stage]["params"]
        if "methods" not in key
    }
    assert used == set(SECTIONS)
