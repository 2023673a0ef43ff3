"""`+from=FILE`: any value that params can hold arrives as it is, and no command does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.core.schema import LONGEST_KEY, check_plain
from dεps.planning.check import compose_params
from dεps.workspace.presets import _take_over
from tests.conftest import ROOT

PARAMS = ROOT / "params"
#: DVC reads YAML 1.2, where 0o17 is a number; of the values it reads names alone, and those are none
HARD = [
    *r""", ( ) = ' " [ ] { } # ~ é \ \\ \' \" : - ? ! & * | > % @ ` $ $a a$ == << [a,b] {a:b} 'a' "a" 007 1e3 1_000
    0x1f 12:30:45 2001-01-01 yes on null None true .nan -.inf 1. +from=a a=b,c=d 💥""".split(),  # noqa: SIM905
    *["", " ", " a", "a ", "key: value", "- item", "# no comment", "ε × →", "a  b"],
]


def is_plain(value: Any) -> bool:
    try:
        check_plain(value, "it")
    except UserError:
        return False
    return "${" not in str(value) and "???" not in str(value)


texts = st.one_of(st.sampled_from(HARD), st.text(max_size=30), st.lists(st.sampled_from(HARD)).map(" ".join))
keys = st.text(min_size=1, max_size=LONGEST_KEY).filter(lambda key: key != "method" and "${" not in key)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), texts)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees.filter(is_plain))
@example(HARD)
@example({text: text for text in HARD if text})
def test_whatever_params_can_hold_arrives_as_it_is(tree):
    config = OmegaConf.create({"options": {"there": 1}})
    _take_over(config, {"options": {"there": tree}}, "file")
    text = OmegaConf.to_yaml(config)
    for read in (yaml.safe_load(text), parse_yaml(text, "params.yaml")):  # as we and as DVC read it
        assert read == {"options": {"there": tree}}
        assert repr(read["options"]["there"]) == repr(tree)  # 1 is not True, nor 1.0


@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(texts.filter(is_plain).filter(bool), min_size=2, max_size=2))
@example([", ( ) = ' \" [ ] { } # ~ é \\", " '$007\\ "])
@example(["1e3", "yes"])
def test_a_file_of_any_text_is_what_deps_params_writes(tmp_path_factory, pair):
    folder = tmp_path_factory.mktemp("round")
    given_ = dict(zip(("root", "name"), pair, strict=True))
    (folder / "best.yaml").write_text(
        yaml.safe_dump({"experiments": {"quick": {"dataset": given_}}}, allow_unicode=True), "utf-8"
    )
    compose_params([f"+from={folder / 'best.yaml'}"], PARAMS, folder / "params.yaml")
    written = read_params(folder / "params.yaml")["experiments"]["quick"]["dataset"]
    assert {key: written[key] for key in given_} == given_


def composed_with(tmp_path: Path, values: dict[str, Any], *overrides: str) -> dict[str, Any]:
    path = tmp_path / "file.yaml"
    path.write_text(yaml.safe_dump(values), "utf-8")
    return compose_params([f"+from={path}", *overrides], PARAMS, tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"launch": "touch y; python"}, r"file\.yaml sets launch, which is run; .*'launch=touch y; python'"),
        ({"++launch": "touch y"}, r"file\.yaml sets launch, which is run"),
        ({"+launch": "touch y"}, r"file\.yaml sets launch, which is run"),
        ({"hydra": {"run": {"dir": "y"}}}, r"hydra is no known key; allowed: names, methods"),
        ({"names": ["x; touch y"]}, r"names holds 'x; touch y'; allowed, by experiments: quick"),
        ({"++experiments": {"x; touch y": {"train": {}}}}, r"experiments holds 'x; touch y'; expected a name"),
        ({"++experiments": {".": {"train": {}}}}, r"experiments holds '\.'; expected a name"),
        ({"experiments": {"quick": {"methods": {"$(y)": {"method": "rss"}}}}}, r"methods holds '\$\(y\)'; expected"),
        ({"standalone": ["$(touch y)"]}, r"standalone, in experiment quick, is '\$\(touch y\)'; allowed"),
        ({"seeds": ["0; touch y"]}, r"seeds\[0\] is '0; touch y'; expected a whole number"),
        ({"experiments": {"quick": {"dataset": {"root": "${oc.env:HOME}"}}}}, r"dataset\.root is .*without references"),
        ({"experiments": {"quick": {"dataset": {"roots": "a"}}}}, r"quick\.dataset\.roots is no known key; allowed"),
        ({"experiments": {"cifar10": {"train": {}}}}, r"cifar10 is not selected; add experiment=\[cifar10\]"),
    ],
)
def test_a_file_sets_no_command_and_no_unknown_key(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        composed_with(tmp_path, values)
    assert not (tmp_path / "params.yaml").exists()


def test_who_wants_a_command_names_it_beside_the_file(tmp_path):
    params = composed_with(tmp_path, {"seeds": [3]}, "launch='torchrun --nproc-per-node 2'")
    assert (params["launch"], params["seeds"]) == ("torchrun --nproc-per-node 2", [3])


def test_values_come_after_the_chosen_groups_and_before_other_overrides(tmp_path):
    file = {"experiments": {"cifar10": {"train": {"epochs": 7, "batch_size": 32}, "dataset": {"root": "a.zip"}}}}
    own = ["experiment=[cifar10]", "train@experiments.cifar10.train=default", "experiments.cifar10.train.epochs=9"]
    train = composed_with(tmp_path, file, *own)["experiments"]["cifar10"]["train"]
    assert (train["epochs"], train["batch_size"]) == (9, 32)


def test_a_reference_that_a_file_changes_in_part_leaves_what_it_refers_to(tmp_path):
    params = composed_with(tmp_path, {"experiments": {"quick": {"tuning": {"base": {"ramp_epochs": 0.25}}}}})
    quick = params["experiments"]["quick"]
    assert quick["tuning"]["base"] == {**quick["methods"]["deps"], "ramp_epochs": 0.25}
    assert quick["methods"]["deps"]["ramp_epochs"] == 1.0
