import pytest

from tests.tools.audit import canonical, declaration_differences, imported, lock_differences, unbounded
from tests.tools.locks import needed


def test_locked_and_installed_versions_are_compared_both_ways():
    lock = needed('A.b==1\nc==2\nd==3\ne==5; sys_platform == "win32"\n', "linux")
    assert list(lock_differences(lock, {"a-b": "1", "c": "2", "d": "3", "pip": "1"})) == []
    (other,) = lock_differences(lock, {"a-b": "1", "c": "9", "d": "3"})
    assert other.startswith("c: requirements.lock has 2, installed is 9")
    missing, more = lock_differences(lock, {"a-b": "1", "d": "3", "e": "4"})
    assert "installed is none" in missing
    assert more.startswith("e: requirements.lock has none")


def test_imports_and_declarations_are_compared_both_ways():
    assert list(declaration_differences({"pillow", "torch", "dvc"}, {"PIL", "torch"})) == []
    (undeclared,) = declaration_differences({"pillow"}, {"PIL", "torch"})
    assert undeclared.startswith("torch is imported")
    (unused,) = declaration_differences({"pillow", "torch"}, {"PIL"})
    assert unused.startswith("torch is a dependency")


def test_what_counts_as_imported():
    modules = imported()
    assert {"torch", "yaml", "mlflow"} <= modules
    assert not {"json", "dεps", "tests", "pipelines", "__future__"} & modules


@pytest.mark.parametrize(("name", "expected"), [("Hydra_Core", "hydra-core"), ("ruamel.yaml", "ruamel-yaml")])
def test_names_are_compared_as_pypi_does(name, expected):
    assert canonical(name) == expected


def test_what_private_parts_are_used_of_has_an_upper_bound():
    (line,) = unbounded(["optuna>=5.0,<6", "MLflow>=3.10", "numpy>=1.26"])
    assert line.startswith("mlflow has no upper bound")
