"""The pipeline's stages as `dvc.yaml` has them: how often each runs, and after which others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dεps.core.errors import UserError

FILE = Path("dvc.yaml")


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    #: instances by what distinguishes them, such as {"experiment": 1, "seed": 3}; empty if there is one
    items: dict[str, int]
    #: stages whose outputs it reads, without those that come before another of them
    after: tuple[str, ...]
    about: str

    @property
    def count(self) -> int:
        """Return the number of its instances."""
        return math.prod(self.items.values())


def read_stages(params: Mapping[str, Any], file: Path = FILE) -> list[Stage]:
    """Return the stages of `dvc.yaml` in an order in which they can run. Raises `UserError` if it is not there."""
    if not file.exists():
        raise UserError(f"{file} does not exist here; expected in the folder that 'deps init' or 'git clone' has made")
    stages = yaml.safe_load(file.read_text("utf-8"))["stages"]
    outs = {
        name: [path for kind in ("outs", "metrics", "plots") for path in _paths(stages[name], kind)] for name in stages
    }
    before = {name: _producers(name, _paths(stages[name], "deps"), outs) for name in stages}
    everything = {name: _all_before(name, before) for name in stages}
    order = sorted(stages, key=lambda name: len(everything[name]))  # what is before a stage has fewer before itself
    after = {name: before[name] - {far for near in before[name] for far in everything[near]} for name in order}
    return [
        Stage(
            name, _items(stages[name], params), tuple(one for one in order if one in after[name]), stages[name]["desc"]
        )
        for name in order
    ]


def _paths(stage: Mapping[str, Any], kind: str) -> list[str]:
    return [path if isinstance(path, str) else next(iter(path)) for path in stage.get(kind, [])]


def _producers(name: str, deps: list[str], outs: Mapping[str, list[str]]) -> set[str]:
    """Return the other stages with an output that is a dependency, is inside one, or has one inside."""
    return {
        other
        for other, own in outs.items()
        if other != name and any(_overlap(_pattern(dep), _pattern(out)) for dep in deps for out in own)
    }


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


def _pattern(path: str) -> tuple[str, ...]:
    return tuple(Path(path).parts)


def _all_before(name: str, before: Mapping[str, set[str]]) -> set[str]:
    return before[name] | {far for near in before[name] for far in _all_before(near, before)}


def _items(stage: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of values of each of the stage's dimensions, which are lists of params: "${seeds}"."""
    return {
        key: len(params.get(value.removeprefix("${").removesuffix("}"), []))
        for key, value in stage.get("matrix", {}).items()
    }
