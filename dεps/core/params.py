"""The file `params.yaml`, as it is read: plain data, whose sections `dεps.core.schema` makes typed objects of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from dεps.core.errors import UserError
from dεps.core.schema import DISTINCT, LONGEST_KEY, check_plain, shown, structured

PARAMS = Path("params.yaml")
LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Names = Annotated[list[str], Field(min_length=1, examples=["[quick]"]), DISTINCT]
Methods = Annotated[list[str], Field(min_length=1, examples=["[deps, rss]"]), DISTINCT]
Archs = Annotated[list[str], Field(min_length=1, examples=["[smallest]", "[smallest, largest]"]), DISTINCT]
#: names of budgets of stage `export`
Budgets = Annotated[list[str], Field(examples=["[small]", "[]"]), DISTINCT]
Seeds = Annotated[list[Seed], Field(min_length=1, examples=["[0, 1]"]), DISTINCT]
#: the keys that choose what the pipeline runs: experiments, methods, archs to train alone, exported subnets to
#: fine-tune, seeds
SELECTION: dict[str, Any] = {
    "names": Names,
    "methods": Methods,
    "standalone": Archs,
    "finetuned": Budgets,
    "seeds": Seeds,
}


class _Loader(yaml.SafeLoader):
    """Without aliases: a file of a few lines could stand for a tree that fills the memory."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
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


def selected(params: dict[str, Any], key: str) -> list[Any]:
    """The list `key` of SELECTION. Raises `UserError` where it is empty, but for `finetuned`, or of other items."""
    return structured(SELECTION[key], params.get(key), key, as_written=True)


def check_names(names: Iterable[str], where: str, signs: str = "_-") -> None:
    """Raise `UserError` unless all can be parts of files' names, of DVC's keys and of commands, which they become."""
    for name in names:
        number = re.fullmatch("0o[0-7]+", name)  # to DVC, by YAML 1.2
        if not re.fullmatch(rf"\w[\w{re.escape(signs)}]*", name) or number or len(name) > LONGEST_KEY:
            expected = f"a name of up to {LONGEST_KEY} letters, digits and {signs}"
            raise UserError(f"{where} holds {name!r}; expected {expected}, beginning with a letter, digit or _")


def section(params: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The mapping at `keys`. Raises `UserError` naming the missing key and what there is instead."""
    found: Any = params
    for depth, key in enumerate(keys, 1):
        if not isinstance(found, dict) or key not in found:
            there = ", ".join(map(str, found)) if isinstance(found, dict) else "nothing"
            raise UserError(f"params.yaml has no '{'.'.join(keys[:depth])}'; there is: {there}")
        found = found[key]
    if not isinstance(found, dict):
        raise UserError(f"params.yaml: '{'.'.join(keys)}' is {shown(found)}; expected a mapping")
    return found
