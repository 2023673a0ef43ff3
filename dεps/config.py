"""Typed access to `params.yaml`.

Every section has a dataclass in the module that uses it, so a stage's code depends on its own sections only. A wrong
key, type or value raises `UserError` with the key's full name.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dεps.errors import UserError

T = TypeVar("T")
PARAMS = Path("params.yaml")


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """The whole file as plain data. Raises `UserError` where it is missing or no YAML mapping."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); 'deps params' composes it") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no mapping; 'deps params' composes it")
    return data


def section(params: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping at `keys`. Raises `UserError` naming the missing key and what there is instead."""
    for depth, key in enumerate(keys, 1):
        if not isinstance(params, dict) or key not in params:
            there = ", ".join(map(str, params)) if isinstance(params, dict) else "nothing"
            raise UserError(f"params.yaml has no '{'.'.join(keys[:depth])}'; there is: {there}")
        params = params[key]
    if not isinstance(params, dict):
        raise UserError(f"params.yaml: '{'.'.join(keys)}' is {params!r}; expected a mapping")
    return params


def structured(schema: type[T], data: Any, where: str) -> T:
    """`data` as an instance of the dataclass `schema`, types converted and `check(where)` run.

    A schema whose keys depend on the data says which dataclass it is by `variant(data, where)`. Raises `UserError`
    naming the key below `where`.
    """
    if not isinstance(data, dict):
        raise UserError(f"{where} is {data!r}; expected a mapping with the keys {', '.join(_names(schema))}")
    if hasattr(schema, "variant"):
        schema = schema.variant(data, where)
    hints = typing.get_type_hints(schema)
    for key in data:
        if key not in hints:
            raise UserError(f"{where}.{key} is no known key; allowed: {', '.join(_names(schema))}")
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
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}.{name} is {value}; expected a finite number")
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
    try:
        schema = OmegaConf.structured(dataclasses.make_dataclass("Leaves", leaves))
        merged = OmegaConf.merge(schema, {name: data[name] for name, _ in leaves})
        return vars(OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where}.{error.full_key}: {reason}") from None
