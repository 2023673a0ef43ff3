"""Plain data to typed objects: limits stand beside the fields, and what breaks one is said in one line.

A schema is a class under `@checked`; its fields are pydantic's, such as `batch_size: Annotated[int, Field(ge=2)] = 64`.
A rule between fields is a `model_validator(mode="after")` that raises `ValueError("key is …; expected …")`, one of a
single field a `rule`; the key's full name is put before them here.
"""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pydantic.dataclasses
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from dεps.core.errors import UserError, is_odd

T = TypeVar("T")
#: of params: what fits 64 bits, a path, and any tree that somebody has written
INTEGERS, LONGEST_TEXT, LONGEST_KEY, DEEPEST = 2**63, 4096, 100, 20
#: nothing is converted behind a caller's back; what a file may write differently, `structured` converts
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


if TYPE_CHECKING:
    from dataclasses import dataclass as checked
else:

    def checked(cls: type | None = None, *, kw_only: bool = False) -> Any:
        """A frozen dataclass whose fields are checked whenever one is made; `UserError` names class and field."""
        if cls is None:
            return functools.partial(checked, kw_only=kw_only)
        made = pydantic.dataclasses.dataclass(cls, config=_STRICT, frozen=True, kw_only=kw_only)
        create = made.__init__

        @functools.wraps(create)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                create(self, *args, **kwargs)
            except ValidationError as error:
                raise UserError(_line(type(self), error.errors(include_url=False), type(self).__name__)) from None

        made.__init__ = init
        return made


def structured(schema: type[T], data: Any, where: str, as_written: bool = False) -> T:
    """`data` as an instance of `schema`, any type that pydantic knows. Raises `UserError` naming the key below `where`.

    Text that says a number or a switch becomes one, and references are refused; not `as_written`, for data that others
    read as they are. A schema whose keys depend on the data says which class it is by `variant(data, where)`.
    """
    while True:
        check_plain(data, where, final=not as_written)
        if hasattr(schema, "variant") and isinstance(data, dict):
            schema = schema.variant(data, where)  # type: ignore[attr-defined]
        try:
            # As JSON, in which strict means that nothing is converted, but mappings make objects.
            return _adapter(schema).validate_json(json.dumps(data), strict=True, context=where)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        again = None if as_written else _converted(data, errors)
        if again is None:
            raise UserError(_line(schema, errors, where))
        data = again


_adapter = functools.cache(TypeAdapter)


def check_plain(value: Any, where: str, depth: int = 0, final: bool = False) -> None:
    """Raise `UserError` naming the key below `where` that is no plain data: text, finite numbers, lists, mappings.

    Final values hold no references either, which could bring in a password from the environment, and are set.
    """
    if depth > DEEPEST:
        raise UserError(f"{where} is nested too deeply; expected at most {DEEPEST} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str) or not key or is_odd(key) or len(key) > LONGEST_KEY:
                raise UserError(f"{where} has the key {shown(key)}; expected a word")
            joint = " " if where.endswith(":") else "." if where else ""
            check_plain(inner, f"{where}{joint}{key}", depth + 1, final)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            check_plain(inner, f"{where}[{number}]", depth + 1, final)
    elif isinstance(value, str):
        if is_odd(value) or len(value) > LONGEST_TEXT:
            raise UserError(f"{where} is {shown(value)}; expected up to {LONGEST_TEXT} characters, no control ones")
        if final and value == "???":  # as Hydra writes what the user must say
            raise UserError(f"{where} is not set; it has no default")
        if final and "${" in value:
            raise UserError(f"{where} is {value!r}; expected a value without references, which 'deps params' resolves")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{where} is {value}; expected a finite number")
    elif isinstance(value, int):
        if abs(value) >= INTEGERS:
            raise UserError(f"{where} is {shown(value)}; expected at most 63")
    elif value is not None:
        raise UserError(f"{where} is a {type(value).__name__}; expected text, a number, true, false, null or a list")


def shown(value: object) -> str:
    """A value as messages quote it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int) and abs(value) >= INTEGERS:  # Python refuses to print some
        return f"a number of {value.bit_length()} bits"
    return repr(value)


#: number of images from which batch statistics are computed, or which are measured
Images = Annotated[int, Field(ge=2, le=10**9)]
#: from 0 up to below 1
Share = Annotated[float, Field(ge=0, lt=1)]
#: probability, or share of all
Probability = Annotated[float, Field(ge=0, le=1)]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def rule(holds: Callable[[Any], object], expected: str) -> AfterValidator:
    """Refuse values for which `holds` is false, and say what is expected."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def one_of(*allowed: int) -> AfterValidator:
    """One of these numbers; of texts `Literal` says it, which takes true for 1."""
    return rule(allowed.__contains__, f"allowed: {_listed(allowed)}")


def formerly(name: str) -> Any:
    """For a field that was called otherwise: whoever uses that name is told the new one."""
    return Field(json_schema_extra={"formerly": name})


def new_name(schema: type, name: str, place: Sequence[str | int] = ()) -> str | None:
    """What the key that was called `name` is called now, at `place` in `schema`."""
    keys = _described(schema, place).get("properties", {})
    return next((key for key, inner in keys.items() if inner.get("formerly") == name), None)


DISTINCT = rule(lambda values: len(set(values)) == len(values), "expected different values")
ASCENDING = rule(lambda values: values == sorted(set(values)), "expected ascending values")
#: what tables and figures call something
Label = Annotated[str, rule(str.strip, "expected a label for tables")]
#: of an image: grey, or RGB
Channels = Annotated[int, one_of(1, 3)]


_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
#: by the error that a value of another type is: the types that are read, and how
_READ: dict[str, tuple[tuple[type, ...], Callable[[Any], Any]]] = {
    "int_type": ((str,), int),
    "float_type": ((str,), float),
    "bool_type": ((str, int), lambda value: _SWITCH[str(value).lower()]),
    "string_type": ((int, float), str),
}


def _converted(data: Any, errors: list[Any]) -> Any:
    """`data` with values read as the types that these errors miss; None where none can be."""
    data, found = copy.deepcopy(data), False
    for error in errors:
        kinds, read = _READ.get(error["type"], ((), str))
        if type(error["input"]) in kinds and error["loc"]:
            *above, last = error["loc"]
            with suppress(KeyError, ValueError):
                functools.reduce(lambda inner, key: inner[key], above, data)[last] = read(error["input"])
                found = True
    return data if found else None


def _line(schema: Any, errors: list[Any], where: str) -> str:
    """The worst of the errors: an unknown key first, which may be why another is missing."""
    error = min(errors, key=lambda error: not error["type"].startswith("unexpected"))
    kind, value, place = error["type"], error["input"], list(error["loc"])
    if place and isinstance(place[0], int) and hasattr(schema, "__dataclass_fields__"):  # a positional argument
        names = [field.name for field in fields(schema)]
        place[0] = names[place[0]] if place[0] < len(names) else place[0]
    key = (where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)).removeprefix(".")
    if kind.startswith("unexpected"):
        now, keys = new_name(schema, str(place[-1]), place[:-1]), _described(schema, place[:-1]).get("properties", ())
        return f"{key} is no known key; {f'it is called {now} now' if now else f'allowed: {_listed(keys)}'}"
    if kind == "missing":
        return f"{key} is missing; it has no default"
    node = _described(schema, place)
    if kind == "value_error":
        rule = str(error["ctx"]["error"])
        return f"{key}.{rule}" if "properties" in node else f"{key} is {shown(value)}; {rule}"
    if kind == "too_long":
        return f"{key} has {len(value):,} items; expected at most {node['maxItems']:,}"
    return f"{key} is {shown(value)}; {_expected(node, value)}"


def _described(schema: Any, place: Sequence[str | int]) -> dict[str, Any]:
    """What JSON schema says of the value at `place` in `schema`: its type, keys, limits and choices."""
    whole = _adapter(schema).json_schema()

    def resolved(node: Any) -> dict[str, Any]:
        if "$ref" in node:
            return resolved(whole["$defs"][node["$ref"].rpartition("/")[2]])
        if "anyOf" in node:
            one = next(one for one in node["anyOf"] if one.get("type") != "null")
            return {**resolved(one), "null": True}
        return {**node, "items": resolved(node["items"])} if "items" in node else node

    node = resolved(whole)
    for part in place:
        inner = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        inner = inner or node.get("additionalProperties")
        node = resolved(inner) if isinstance(inner, dict) else {}
    return node


#: by JSON schema's name: one, and several
_NOUNS = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "words"),
    "boolean": ("true or false", "switches"),
    "array": ("a list", "lists"),
    "object": ("a mapping", "mappings"),
}


def _expected(node: dict[str, Any], value: Any) -> str:
    """What is allowed, in words: the choices, or the limits, with the type where `value` is of another."""
    choices = node.get("enum") or ([node["const"]] if "const" in node else [])
    null = ", or null" * ("null" in node)
    if choices:
        return f"allowed: {_listed(choices)}{null}"
    kinds = {"integer": int, "number": (int, float)}.get(node.get("type", ""), ())
    limits, is_kind = _limits(node), isinstance(value, kinds) and not isinstance(value, bool)
    words = limits if limits and is_kind else ", ".join(filter(None, [_noun(node), limits]))
    such = f", such as {' or '.join(node['examples'])}" if "examples" in node else ""
    return f"expected {words}{such}{null}"


def _noun(node: dict[str, Any], several: int = 0) -> str:
    noun = _NOUNS[node["type"]][several] if "type" in node else "another value"
    if "minItems" in node or "minProperties" in node:
        noun = noun.replace("a ", "a non-empty ")
    if "properties" in node:
        noun += f" with the keys {_listed(node['properties'])}"
    if "items" in node:
        choices = node["items"].get("enum")
        noun += f" of {f'some of: {_listed(choices)}' if choices else _noun(node['items'], 1)}"
    return noun


def _limits(node: dict[str, Any]) -> str:
    """As "0 to 1", "above 0 up to 1", "2 or more"; empty without limits."""
    keys = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    low, above, high, below = (_number(node[key]) if key in node else "" for key in keys)
    start = low or (above and f"above {above}")
    if high:
        return f"{start} {'up to' if above else 'to'} {high}" if start else f"{high} or less"
    if below:
        return f"{start}{', ' if above else ' up to '}below {below}" if start else f"below {below}"
    return f"{low} or more" if low else start


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
