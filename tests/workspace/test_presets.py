"""Presets in `params/experiment/`: each says only what differs from its base, and its head tells the truth."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dεps.core.errors import UserError
from dεps.planning.check import composed
from dεps.workspace.presets import unchecked
from tests.conftest import ROOT

PARAMS = ROOT / "params"
PRESETS = sorted(path.stem for path in (PARAMS / "experiment").glob("*.yaml"))
BASES = sorted(path.stem for path in (PARAMS / "base").glob("*.yaml"))
BUILT_UPON = [
    path.relative_to(PARAMS).with_suffix("")
    for group in ("space", "dataset", "tuning", "method")
    for path in sorted((PARAMS / group).glob("*.yaml"))
    if "defaults:" in path.read_text()
]
LABELS = {"deps": "DεpS", "ofa": "OFA", "bignas": "BigNAS", "compofa": "CompOFA"}


def head(name: str) -> str:
    """The comment that a preset begins with, as one line."""
    lines = (PARAMS / "experiment" / f"{name}.yaml").read_text().splitlines()
    comment = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert comment[0] == f"# @package experiments.{name}"
    return " ".join(line.removeprefix("#").strip() for line in comment[1:])


def leaves(tree: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value of nested mappings, with the keys that lead to it."""
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield from leaves(inner, (*where, key))
    else:
        yield where, tree


def at(tree: Any, where: tuple[str, ...]) -> Any:
    for key in where:
        tree = tree[key] if isinstance(tree, dict) and key in tree else "absent"
    return tree


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_only_what_differs_from_its_base(name, tmp_path):
    groups, file = tmp_path / "params", PARAMS / "experiment" / f"{name}.yaml"
    shutil.copytree(PARAMS, groups)
    said = yaml.safe_load(file.read_text())
    defaults = said.pop("defaults")
    package = f"# @package experiments.{name}\n"
    (groups / "experiment" / file.name).write_text(package + yaml.safe_dump({"defaults": defaults}))
    base = unchecked([f"experiment=[{name}]"], groups)[0]["experiments"][name]
    assert [where for where, value in leaves(said) if at(base, where) == value] == []


@pytest.mark.parametrize("name", [str(name) for name in BUILT_UPON])
def test_a_group_that_builds_on_another_says_only_what_differs(name, tmp_path):
    groups, (group, choice) = tmp_path / "params", name.split("/")
    shutil.copytree(PARAMS, groups)
    said = yaml.safe_load((PARAMS / f"{name}.yaml").read_text())
    defaults = said.pop("defaults")
    (groups / f"{name}.yaml").write_text(yaml.safe_dump({"defaults": defaults}))
    place = f"+{group}@experiments.quick.{group}" if group == "method" else f"{group}@experiments.quick.{group}"
    base = unchecked([f"{place}={choice}"], groups)[0]["experiments"]["quick"][group]
    own = yaml.safe_load((PARAMS / "base/minutes.yaml").read_text()).get(group, {})
    assert [where for where, value in leaves(said) if at(base, where) == value and at(own, where) == "absent"] == []


def test_two_presets_have_the_bits_that_processors_have_in_common():
    """Numbers of `quick` are for everyone to compare with, seeds of `imagenet100_small` come from several machines;
    elsewhere the fastest kernels are the default."""
    found = {name: unchecked([f"experiment=[{name}]"], PARAMS)[0]["portable"] for name in PRESETS}
    assert found == {name: name in ("quick", "imagenet100_small") for name in PRESETS}
    assert unchecked(["portable=false"], PARAMS)[0]["portable"] is False


def test_bases_are_no_presets():
    assert "experiment" in BASES
    assert not set(BASES) & set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_the_head_has_the_command_the_hours_and_what_to_expect(name):
    command, hours, expected = re.search(
        r"Run: +(.*?) && dvc repro Hours: +(.*?) Expected: +(.*)$", head(name)
    ).groups()
    program, subcommand, *overrides = shlex.split(command)
    assert (program, subcommand) == ("deps", "params")
    assert composed(overrides, PARAMS)[0]["names"] == [name]
    for text in (hours, expected):
        assert re.search("measured|estimated|published", text, re.IGNORECASE), text
    for path in re.findall(r"\b(?:reports|dεps)/[\w/.]+", hours + expected):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", PRESETS)
def test_published_numbers_in_a_head_are_those_of_the_papers(name):
    rows = list(csv.DictReader((ROOT / "dεps/report/published/pareto_points.csv").open()))
    text = head(name)
    found = re.findall(rf"({'|'.join(LABELS.values())}) (\d\d\.\d\d) to (\d\d\.\d\d)", text)
    points = {
        (label, *(row["top1"] for row in rows if (row["dataset"], row["method"]) == (name, method)))
        for method, label in LABELS.items()
    }
    assert {tuple(entry) for entry in found} == {(label, tops[0], tops[-1]) for label, *tops in points if tops}
    costs = {
        row["method"]: row["gpu_hours"]
        for row in csv.DictReader((ROOT / "dεps/report/published/training_cost.csv").open())
    }
    if "GPU-hours published" in text:
        assert name == "imagenet1k"
        given = re.search(r"GPU-hours published \(.*?\): (.*?)\.", text)[1]
        assert given == ", ".join(
            f"{LABELS[method]} {hours}" for method, hours in sorted(costs.items(), key=lambda item: int(item[1]))
        )


@pytest.fixture
def extra(tmp_path):
    """Groups with a method that no preset lists."""
    groups = tmp_path / "params"
    shutil.copytree(PARAMS, groups)
    (groups / "method/slow_rss.yaml").write_text("defaults: [rss, _self_]\nepochs_ratio: 9.0\n")
    return groups


def test_a_method_that_no_preset_lists_is_added_where_it_is_selected(extra):
    overrides = ["experiment=[quick,cifar10]", "methods=[deps,slow_rss]"]
    params = unchecked([*overrides, "experiments.quick.methods.slow_rss.epochs_ratio=2.0"], extra)[0]
    assert params["methods"] == ["deps", "slow_rss"]
    plain = unchecked(["experiment=[quick,cifar10]"], extra)[0]["experiments"]
    for name, ratio in (("quick", 2.0), ("cifar10", 9.0)):
        methods = params["experiments"][name]["methods"]
        usual = yaml.safe_load((PARAMS / "method/rss.yaml").read_text())  # the presets' values are of their own methods
        assert methods.pop("slow_rss") == {**usual, "epochs_ratio": ratio}
        assert methods == plain[name]["methods"]


def test_without_a_selection_only_the_listed_methods_run(extra):
    assert "slow_rss" not in unchecked([], extra)[1]


@pytest.mark.parametrize("name", ["nope", "../experiment/quick", "base"])
def test_a_selected_method_without_a_file_is_refused(extra, name):
    with pytest.raises(UserError, match=r"^methods holds .* but there is no 'experiments.quick.methods."):
        composed([f"methods=[deps,{name}]"], extra)


def test_variants_of_deps_follow_the_experiments_deps():
    """Each differs in what it is named after, whatever the preset or an override says of the rest."""
    changed = {
        "deps_early": {"shrink_start": 0.25},
        "deps_late": {"shrink_start": 0.75},
        "deps_no_ramp": {"ramp_epochs": 0.0},
        "deps_labels": {"distill": False},
        "deps_scratch": {"shrink_start": 0.0},
    }
    overrides = [f"methods=[deps,{','.join(changed)}]", "experiment=[cifar10,quick]"]
    overrides += [
        "experiments.quick.methods.deps.temperature=2.0",
        "experiments.quick.methods.deps_late.random_subnets=3",
    ]
    experiments = unchecked(overrides, ROOT / "params")[0]["experiments"]
    for name, experiment in experiments.items():
        own = experiment["methods"]
        for variant, change in changed.items():
            more = {"random_subnets": 3} if (name, variant) == ("quick", "deps_late") else {}
            assert own[variant] == own["deps"] | change | more
    assert experiments["cifar10"]["methods"]["deps_labels"]["shrink_start"] == 0.475  # as published
    assert experiments["cifar10"]["methods"]["deps_labels"]["kernels"] == [7]
    assert experiments["quick"]["methods"]["deps_early"]["temperature"] == 2.0
