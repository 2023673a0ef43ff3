"""From a method's params to its strategy: every other file of this folder is found by its name."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from dεps.core.config import structured
from dεps.core.errors import UserError
from dεps.methods.base import Restricted, Setup, Strategy

_NOT_STRATEGIES = {"__init__", "base", "losses", "registry", "schedule"}


def names() -> list[str]:
    """Allowed values of a method's key `strategy`."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_STRATEGIES)


def _allowed() -> str:
    return ", ".join(names())


def options(params: dict[str, Any], where: str) -> Any:
    """The checked `Options` of the method whose params stand at `where`. Raises `UserError`."""
    params = dict(params)
    name = params.pop("strategy", None)
    if name is None:
        raise UserError(f"{where} has no 'strategy' (to choose methods, set the list 'methods'); allowed: {_allowed()}")
    if name not in names():
        raise UserError(f"{where}.strategy is {name!r}; allowed: {_allowed()}")
    return structured(import_module(f"dεps.methods.{name}").Options, params, where)


def build(params: dict[str, Any], where: str, setup: Setup) -> Strategy:
    """The strategy of the method whose params stand at `where`. Raises `UserError`."""
    checked = options(params, where)
    if isinstance(checked, Restricted):
        setup = replace(setup, space=checked.restricted(setup.space, where))
    return import_module(f"dεps.methods.{params['strategy']}").build(checked, setup)
