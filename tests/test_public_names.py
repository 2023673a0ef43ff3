"""`import dεps` and `import deps`: quick, lazy, and one and the same."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

import deps
import dεps
from tests.conftest import ROOT


def python(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["dεps", "deps"])
def test_import_is_quick_and_brings_nothing_along(package):
    code = f"""
import sys, time
before = set(sys.modules)
started = time.perf_counter()
import {package}
took = time.perf_counter() - started
print(took, sorted({{name.split('.')[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)))
"""
    times, brought = zip(*(python(code).split(" ", 1) for _ in range(3)), strict=True)
    assert set(brought) == {f"['{package}']"}
    assert min(map(float, times)) < 0.1


def test_a_name_imports_its_own_module_alone():
    assert (
        python("import sys, dεps; dεps.SearchSpace, dεps.Arch, dεps.UserError; print('torch' in sys.modules)")
        == "False"
    )
    assert python("import sys, deps; deps.Supernet; print('torch' in sys.modules)") == "True"


def test_all_names_are_there_under_both_packages():
    assert len(dεps.__all__) <= 18
    for name in dεps.__all__:
        assert getattr(dεps, name).__name__ == name
        assert getattr(deps, name) is getattr(dεps, name)
        assert name in dir(dεps)
        assert name in dir(deps)
    everything: dict = {}
    exec("from deps import *", everything)
    assert set(dεps.__all__) <= set(everything)


def test_what_is_imported_lazily_is_what_type_checkers_see():
    tree = ast.parse((ROOT / "dεps/__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"dεps.{module}" for name, module in dεps._MODULES.items()}
    assert sorted(seen) == sorted(dεps.__all__)


@pytest.mark.slow
def test_type_checkers_know_the_names_of_both(tmp_path):
    pytest.importorskip("pyright")
    good = "deps.Arch.parse('').at(3); dεps.load_space('').named('').depths\n"
    (tmp_path / "use.py").write_text(f"import deps\nimport dεps\n\n{good}deps.nothing\ndeps.Arch.parse(1)\n")
    command = [sys.executable, "-m", "pyright", "--outputjson", str(tmp_path / "use.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [(one["range"]["start"]["line"], one.get("rule")) for one in found if one["severity"] == "error"] == [
        (4, "reportAttributeAccessIssue"),
        (5, "reportArgumentType"),
    ]


def test_submodules_of_the_alias_are_the_same_modules():
    code = """
from deps.spaces.space import SearchSpace
import deps.core.errors, sys
import dεps.core.errors
import dεps
assert deps.core.errors is dεps.core.errors is sys.modules['deps.core.errors']
assert SearchSpace is dεps.SearchSpace
assert dεps.core.errors.__spec__.name == dεps.core.errors.__name__ == 'dεps.core.errors'
print('same')
"""
    assert python(code) == "same"


def test_what_is_not_there_is_an_ordinary_error():
    for package in (deps, dεps):
        with pytest.raises(AttributeError, match="no attribute 'nothing'; its public names are Arch, "):
            package.nothing  # noqa: B018
        assert not hasattr(package, "__wrapped__")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'deps\.nothing'"):
        import_module("deps.nothing")


def test_python_runs_the_alias_as_the_command():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deps", "nonsense"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No such command 'nonsense'; see 'deps --help'\n"
