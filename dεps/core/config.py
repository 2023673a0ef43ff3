"""Typed access to `params.yaml`.

Every section has a dataclass in the module that uses it, so a stage's code depends on its own sections only. A wrong
key, type or value raises `UserError` with the key's full name.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dεps.core.errors import UserError, is_odd

T = TypeVar("T")
PARAMS = Path("params.yaml")
#: of params: what fits 64 bits, a path, and any tree that somebody has written
INTEGERS, LONGEST_TEXT, LONGEST_KEY, DEEPEST = 2**63, 4096, 100, 20
#: the keys that choose what the pipeline runs: type of the items, and what is expected
LISTS: dict[str, tuple[type, str]] = {
    "names": (str, "experiments, such as [quick]"),
    "methods": (str, "methods, such as [deps, rss]"),
    "standalone": (str, "archs to train alone, such as [smallest] or [smallest, largest]"),
    "seeds": (int, "different whole numbers, such as [0, 1]"),
}
LARGEST_SEED = 2**32 - 1


class _Loader(yaml.SafeLoader):
    """Without aliases: a file of a few lines could stand for a tree that fills the memory."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"line {self.peek_event().start_mark.line + 1}: aliases (*name) are not supported")
        return super().compose_node(parent, index)


def read_params(path: Path = PARAMS, cure: str = "'deps params' composes it") -> dict[str, Any]:
    """The whole file as plain data. Raises `UserError`, which ends with the cure, where it is missing or no mapping."""
    try:
        data = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a subclass of the safe loader
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {cure}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no mapping; {cure}")
    check_plain(data, f"{path}:")
    return data


def check_plain(value: Any, where: str, depth: int = 0) -> None:
    """Raise `UserError` naming the key below `where` that is no plain data: text, finite numbers, lists, mappings."""
    if depth > DEEPEST:
        raise UserError(f"{where} is nested too deeply; expected at most {DEEPEST} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str) or not key or is_odd(key) or len(key) > LONGEST_KEY:
                raise UserError(f"{where} has the key {_shown(key)}; expected a word")
            check_plain(inner, f"{where} {key}" if where.endswith(":") else f"{where}.{key}", depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            check_plain(inner, f"{where}[{number}]", depth + 1)
    elif isinstance(value, str):
        if is_odd(value) or len(value) > LONGEST_TEXT:
            raise UserError(f"{where} is {_shown(value)}; expected up to {LONGEST_TEXT} characters, no control ones")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{where} is {value}; expected a finite number")
    elif isinstance(value, int):
        if abs(value) >= INTEGERS:
            raise UserError(f"{where} is a number of {value.bit_length()} bits; expected at most 63")
    elif value is not None:
        raise UserError(f"{where} is a {type(value).__name__}; expected text, a number, true, false, null or a list")


def _shown(value: object) -> str:
    if isinstance(value, int) and abs(value) >= INTEGERS:  # Python refuses to print some
        return f"a number of {value.bit_length()} bits"
    return repr(value)


def selected(params: dict[str, Any], key: str) -> list[Any]:
    """The list `key` of LISTS. Raises `UserError` where it is empty, or of other items."""
    kind, expected = LISTS[key]
    value = params.get(key)
    check_plain(value, key)
    good = isinstance(value, list) and value and all(type(item) is kind for item in value)
    if not good or len(set(value)) != len(value):
        raise UserError(f"{key} is {value!r}; expected a non-empty list of {expected}")
    if kind is int and not (min(value) >= 0 and max(value) <= LARGEST_SEED):
        raise UserError(f"{key} is {value!r}; expected numbers from 0 up to {LARGEST_SEED}")
    return value


def check_names(names: Iterable[str], where: str, signs: str = "_-") -> None:
    """Raise `UserError` unless all can be parts of files' names, of DVC's keys and of commands, which they become."""
    for name in names:
        number = re.fullmatch("0o[0-7]+", name)  # to DVC, by YAML 1.2
        if not re.fullmatch(rf"\w[\w{re.escape(signs)}]*", name) or number or len(name) > LONGEST_KEY:
            expected = f"a name of up to {LONGEST_KEY} letters, digits and {signs}"
            raise UserError(f"{where} holds {name!r}; expected {expected}, beginning with a letter, digit or _")


def section(params: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping at `keys`. Raises `UserError` naming the missing key and what there is instead."""
    for depth, key in enumerate(keys, 1):
        if not isinstance(params, dict) or key not in params:
            there = ", ".join(map(str, params)) if isinstance(params, dict) else "nothing"
            raise UserError(f"params.yaml has no '{'.'.join(keys[:depth])}'; there is: {there}")
        params = params[key]
    if not isinstance(params, dict):
        raise UserError(f"params.yaml: '{'.'.join(keys)}' is {_shown(params)}; expected a mapping")
    return params


def structured(schema: type[T], data: Any, where: str) -> T:
    """`data` as an instance of the dataclass `schema`, types converted and `check(where)` run.

    A schema whose keys depend on the data says which dataclass it is by `variant(data, where)`; `renamed` maps former
    keys to present ones. Raises `UserError` naming the key below `where`.
    """
    check_plain(data, where)
    if not isinstance(data, dict):
        raise UserError(f"{where} is {data!r}; expected a mapping with the keys {', '.join(_names(schema))}")
    if hasattr(schema, "variant"):
        schema = schema.variant(data, where)
    hints = typing.get_type_hints(schema)
    for key in data:
        if key not in _names(schema):
            renamed = getattr(schema, "renamed", {}).get(key)
            hint = f"it is called {renamed} now" if renamed else f"allowed: {', '.join(_names(schema))}"
            raise UserError(f"{where}.{key} is no known key; {hint}")
    values, leaves = {}, []
    for field in dataclasses.fields(schema):
        given, kind = field.name in data, hints[field.name]
        if not given and _has_no_default(field):
            raise UserError(f"{where}.{field.name} is missing; it has no default")
        if given and data[field.name] == "???":  # as Hydra writes what the user must say
            raise UserError(f"{where}.{field.name} is not set; it has no default")
        if given and dataclasses.is_dataclass(kind):
            values[field.name] = structured(kind, data[field.name], f"{where}.{field.name}")
        elif given and typing.get_origin(kind) is list and dataclasses.is_dataclass(typing.get_args(kind)[0]):
            values[field.name] = _list(typing.get_args(kind)[0], data[field.name], f"{where}.{field.name}")
        elif given:
            leaves.append((field.name, kind))
    values |= _convert(leaves, data, where)
    for name, _ in leaves:  # once more: text such as 'nan' has become a number
        value = values[name]
        check_plain(vars(value) if dataclasses.is_dataclass(value) else value, f"{where}.{name}")
    result = schema(**values)
    if hasattr(result, "check"):
        result.check(where)
    return result


def _names(schema: type) -> list[str]:
    return [field.name for field in dataclasses.fields(schema)]


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _list(schema: type[T], data: Any, where: str) -> list[T]:
    if not isinstance(data, list):
        raise UserError(f"{where} is {data!r}; expected a list of mappings with the keys {', '.join(_names(schema))}")
    return [structured(schema, item, f"{where}[{number}]") for number, item in enumerate(data)]


def _convert(leaves: list[tuple[str, Any]], data: dict[str, Any], where: str) -> dict[str, Any]:
    """Values of plain types, converted as OmegaConf does ('7' is an int, 'yes' a bool)."""
    given = {name: data[name] for name, _ in leaves}
    for name, kind in leaves:
        check_references(given[name], f"{where}.{name}")
        _check_kind(given[name], kind, f"{where}.{name}")
    try:
        merged = OmegaConf.merge(_template(tuple(leaves)), given)
        return vars(OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where}.{error.full_key}: {reason}") from None


@cache
def _template(leaves: tuple[tuple[str, Any], ...]) -> DictConfig:
    return OmegaConf.structured(dataclasses.make_dataclass("Leaves", leaves))


def _check_kind(value: Any, kind: Any, where: str) -> None:
    """What OmegaConf would convert, or let pass, though nobody can have meant it."""
    for one in (kind, *typing.get_args(kind)):
        if typing.get_origin(one) is list and typing.get_args(one)[0] in (int, float, str) and isinstance(value, list):
            if bad := [item for item in value if item is None or isinstance(item, bool | list | dict)]:
                expected = {int: "whole numbers", float: "numbers", str: "words"}[typing.get_args(one)[0]]
                raise UserError(f"{where} holds {bad[0]!r}; expected a list of {expected}")
        elif one is bool and not isinstance(value, list | dict) and str(value).lower() not in _SWITCH:
            raise UserError(f"{where} is {value!r}; expected true or false")
        elif one is str and isinstance(value, bool):
            raise UserError(f"{where} is {str(value).lower()}; expected text (in quotes, where it reads like a switch)")


_SWITCH = ("true", "false", "yes", "no", "on", "off", "1", "0")


def check_references(value: Any, where: str) -> None:
    """Raise `UserError` for a reference: values are final, and it could bring in a password from the environment."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        check_references(item, where)
    if isinstance(value, str) and "${" in value:
        raise UserError(f"{where} is {value!r}; expected a value without references, which 'deps params' resolves")
