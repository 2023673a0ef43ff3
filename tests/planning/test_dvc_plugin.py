"""What DVC composes for `dvc exp run`, by its own function and with the plugin that `.dvc/config` names."""

import sys

import pytest
from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.utils.hydra import compose_and_dump
from hydra._internal.hydra import Hydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

from dεps.planning.check import composed
from tests.conftest import ROOT

PARAMS = ROOT / "params"


@pytest.fixture
def compose(tmp_path, monkeypatch):
    """DVC's composition into a file, in a process that has loaded no plugin yet."""
    monkeypatch.setattr(Hydra, "compose_config", Hydra.compose_config)  # put back at the end
    monkeypatch.delitem(sys.modules, "hydra_plugins.deps_params", raising=False)
    monkeypatch.setattr(Singleton, "_instances", dict(Singleton._instances))
    monkeypatch.setattr(sys, "path", list(sys.path))  # DVC adds the plugin's folder, where Hydra then finds it again
    plugins = ROOT / Config(str(ROOT / ".dvc"))["hydra"]["plugins_path"]

    def call(*overrides: str) -> str:
        if "hydra_plugins.deps_params" not in sys.modules:
            Singleton._instances.pop(Plugins, None)  # of what was composed here before
        compose_and_dump(tmp_path / "dvc.yaml", str(PARAMS), None, "config", str(plugins), list(overrides))
        return (tmp_path / "dvc.yaml").read_text("utf-8")

    yield call
    for name in [name for name in sys.modules if name.split(".")[0] == "hydra_plugins"]:
        del sys.modules[name]


def test_it_is_what_deps_params_writes(compose, tmp_path):
    (tmp_path / "best.yaml").write_text("experiments: {quick: {methods: {deps: {shrink_start: 0.25}}}}")
    choices = [[], ["seeds=[3]", f"+from={tmp_path / 'best.yaml'}", "methods=[deps,rss]"]]
    expected = [composed(overrides, PARAMS)[1] for overrides in choices]  # before DVC loads the plugin
    assert [compose(*overrides) for overrides in choices] == expected
    assert "shrink_start: 0.25" in expected[1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("methods=deps", "methods is 'deps'; expected a non-empty list of words, such as [deps, rss]"),
        ("seeds=0", "seeds is 0; expected a non-empty list of whole numbers, such as [0, 1]"),
        ("seeds=[]", "seeds is []; expected a non-empty list of whole numbers, such as [0, 1]"),
        ("methods=[deps,deps]", "methods is ['deps', 'deps']; expected different values"),
        ("methods=[depss]", "methods holds 'depss', but there is no 'experiments.quick.methods.depss'; there is: deps"),
        ("experiments.quick.train.lr=1", "experiments.quick.train.lr is no known key; allowed: epochs, batch_size"),
        ("nope=3", "nope is no known key; allowed: names, methods"),
        ("names=['x; touch y']", "names holds 'x; touch y'; allowed, by experiments: quick"),
        ("experiment=[nope]", "'experiment/nope' is not in params/; allowed: cifar10"),
    ],
)
def test_what_is_wrong_is_one_line_of_ours(compose, tmp_path, override, message):
    with pytest.raises(DvcException) as caught:
        compose(override)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dvc.yaml").exists()


def test_an_unknown_method_is_answered_with_those_of_params_too(compose):
    with pytest.raises(DvcException, match=r"there is: deps, ofa, .*; and of params/method: alphanet, bignas_paper, "):
        compose("methods=[depss]")
