"""`import dεps` and `import deps`: quick, lazy, and one and the same."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import click
import pytest
import yaml

import deps
import dεps
from dεps.cli.main import command_files, main
from dεps.workspace import outputs
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
started = time.process_time()
import {package}
took = time.process_time() - started
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
    assert len(dεps.__all__) <= 19
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
    command[-1] = "reprro"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "error: No such command 'reprro' (did you mean 'repro'?); see 'deps --help'\n"


def test_every_module_has_a_name_without_epsilon():
    files = [path for path in (ROOT / "dεps").rglob("*.py") if path.name != "__init__.py"]
    modules = [
        path.relative_to(ROOT / "dεps").with_suffix("") for path in files if path.parent.with_suffix(".py") not in files
    ]
    assert len(modules) > 150
    for path in modules:
        name = ".".join(path.parts)
        assert name.isascii()
        spec = find_spec(f"deps.{name}")
        assert spec is not None and spec.loader.get_code(spec.name).co_filename == str(ROOT / "dεps" / path) + ".py"


def test_python_runs_a_module_under_its_name_without_epsilon():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "deps.cli.parallel.item"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "IndexError: list index out of range"  # it wants the name of an item


def test_every_command_and_option_is_ascii():
    for name in command_files():
        command = main.get_command(click.Context(main), name)
        assert name.isascii()
        for parameter in command.params:
            choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
            for text in (*parameter.opts, *parameter.secondary_opts, *map(str, choices)):
                assert text.isascii(), f"{name}: {text}"


def keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_every_key_of_params_and_every_stage_and_metric_is_ascii():
    files = [*(ROOT / "params").rglob("*.yaml"), ROOT / "params.yaml", ROOT / "dvc.yaml"]
    found = {key for path in files for key in keys(yaml.safe_load(path.read_text("utf-8")))}
    found |= {path.relative_to(ROOT).as_posix() for path in files}
    found |= {metric.key for metric in outputs.EVALUATED}
    found |= {path.name for folder in ("params", "pipelines", "docs", "reports") for path in (ROOT / folder).rglob("*")}
    assert len(found) > 200
    assert sorted(text for text in found if not text.isascii()) == []
