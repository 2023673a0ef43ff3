"""The families that tests go through: each by its smallest space, and one more that only tests know."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml

import dεps.nets
from dεps.core.schema import structured
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import SearchSpace
from tests.conftest import NETWORKS, load_space

#: a family folder outside the package, and the name of its space
FAMILIES, PLAIN = Path(__file__).with_name("families"), "plain_28"
#: stands for `resnet_28` with a choice of kernels, which no space in params has with dense convolutions
DENSE_KERNELS = "resnet_28 with kernels"


@cache
def family_spaces() -> list[str]:
    """The space of each family whose full model costs least, and `PLAIN`: whoever adds a family is tested by it."""
    least: dict[str, tuple[int, str]] = {}
    for name in NETWORKS:
        space = load_space(name)
        cost = arch_cost(space, space.largest(), 10).macs, name
        least[space.family] = min(cost, least.get(space.family, cost))
    return [*(name for _, name in least.values()), PLAIN]


@pytest.fixture
def space(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    """The space of a name that a test is parametrised by, `PLAIN` among them."""
    return named_space(request.param, monkeypatch)


def named_space(name: str, monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    """The space of that name; for `PLAIN` its family is there until the test ends."""
    if name == DENSE_KERNELS:
        dense = load_space("resnet_28")
        return replace(dense, stages=[replace(stage, kernel=[3, 5, 7]) for stage in dense.stages])
    if name != PLAIN:
        return load_space(name)
    monkeypatch.setattr(dεps.nets, "__path__", [*dεps.nets.__path__, str(FAMILIES)])
    return structured(SearchSpace, yaml.safe_load((FAMILIES / f"{PLAIN}.yaml").read_text("utf-8")), PLAIN)
