"""Builds methods from params: a file of this folder is a method, and its name is the value of the key `method`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from dεps.core.errors import UserError, check_choice
from dεps.core.schema import structured
from dεps.methods.base import Look, Method, MethodFile, Restricted, Setup

#: files that methods are made from, which are none themselves
_SHARED = {"__init__", "base", "losses", "registry", "schedule"}


@cache
def names() -> tuple[str, ...]:
    """Allowed values of a method's key `method`, sorted."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _SHARED))


@cache
def looks() -> dict[str, Look]:
    """How each method is shown, by its file's name, in the order of legends and tables."""
    found = {name: look for name in names() if (look := _file(name).LOOK)}
    return dict(sorted(found.items(), key=lambda item: item[1].place))


def options(params: dict[str, Any], where: str) -> Any:
    """The checked `Options` of the method whose params stand at `where`. Raises `UserError`."""
    params = dict(params)
    if "strategy" in params:
        raise UserError(f"{where}.strategy is no known key; it is called method now")
    name = params.pop("method", None)
    if name is None:
        cure = "(to choose methods, set the list 'methods')"
        raise UserError(f"{where} has no 'method' {cure}; allowed: {', '.join(names())}")
    check_choice(name, names(), f"{where}.method")
    return structured(_file(name).Options, params, where)


def build(params: dict[str, Any], where: str, setup: Setup) -> Method:
    """The method whose params stand at `where`, restricted to its part of the space. Raises `UserError`."""
    checked = options(params, where)
    if isinstance(checked, Restricted):
        setup = replace(setup, space=checked.restricted(setup.space, where))
    return _file(params["method"]).build(checked, setup)


def method(name: str, **options_: Any) -> Callable[[Setup], Method]:
    """A training method by the name of its file, such as "deps", for a `Trainer`.

    Args:
        name: one of `names()`: deps, ofa, compofa, bignas, rss …
        options_: fields of the method's `Options`, such as `shrink_start=0.5`; others keep their defaults.

    Raises `UserError` naming the option that is unknown or impossible.
    """
    check_choice(name, names(), "method")
    params, where = {**options_, "method": name}, f"method({name!r})"
    options(params, where)
    return partial(build, params, where)


def _file(name: str) -> MethodFile:
    return cast(MethodFile, import_module(f"dεps.methods.{name}"))
