"""The schema by hand, of sections that pydantic does not check yet."""

from __future__ import annotations

import dataclasses
import typing
from functools import cache
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dεps.core import schema as other
from dεps.core.errors import UserError
from dεps.core.schema import check_plain

T = TypeVar("T")


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
            values[field.name] = other.structured(kind, data[field.name], f"{where}.{field.name}")
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
    return [other.structured(schema, item, f"{where}[{number}]") for number, item in enumerate(data)]


def _convert(leaves: list[tuple[str, Any]], data: dict[str, Any], where: str) -> dict[str, Any]:
    """Values of plain types, converted as OmegaConf does ('7' is an int, 'yes' a bool)."""
    given = {name: data[name] for name, _ in leaves}
    for name, kind in leaves:
        if "???" not in str(given[name]):
            check_plain(given[name], f"{where}.{name}", final=True)
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
