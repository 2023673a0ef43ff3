"""Typed access to `params.yaml`.

Every section has a dataclass in the module that uses it, so a stage's code depends on its own sections only. A wrong
key, type or value raises `UserError` with the key's full name.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

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


def structured(schema: type[T], data: dict[str, Any], where: str) -> T:
    """`data` as an instance of the dataclass `schema`, types converted and `check(where)` run.

    Raises `UserError` naming the key below `where`.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(data))
        result = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        key = f"{where}.{error.full_key}"
        raise UserError(f"{key} is no known key; allowed: {', '.join(_fields_at(schema, error.full_key))}") from None
    except MissingMandatoryValue as error:
        raise UserError(f"{where}.{error.full_key} is missing; it has no default") from None
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where}.{error.full_key or ''}: {reason}".replace(".:", ":")) from None
    _check(result, where)
    return result


def _fields_at(schema: type, full_key: str) -> list[str]:
    """Field names of the dataclass that holds the last part of a dotted key."""
    for part in full_key.split(".")[:-1]:
        hints = {field.name: field.type for field in dataclasses.fields(schema)}
        factory = next((f.default_factory for f in dataclasses.fields(schema) if f.name == part.split("[")[0]), None)
        if factory in (None, dataclasses.MISSING) or not dataclasses.is_dataclass(factory):
            return [f"the keys of {hints.get(part, part)}"]
        schema = factory
    return [field.name for field in dataclasses.fields(schema)]


def _check(value: Any, where: str) -> None:
    if not dataclasses.is_dataclass(value):
        return
    if hasattr(value, "check"):
        value.check(where)
    for field in dataclasses.fields(value):
        if getattr(value, field.name) is not MISSING:
            _check(getattr(value, field.name), f"{where}.{field.name}")
