"""What `dvc.lock` says of results: whether the params and inputs that are here now made them.

DVC writes an item's entry as soon as the item has run, with the values of its params and hashes of what it read and
wrote. Code is left aside: results of older code are results of the same params.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from dεps.core.hashing import md5
from dεps.core.params import SELECTION
from dεps.workspace.decides import deciding

FILE = Path("dvc.lock")
_RUNS = "runs/"
#: keys that decide nothing, as in a run's identity
_ASIDE = {"dataset": {"root", "workers"}}


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """As DVC writes, by YAML 1.2: 3e-05 is a number, and `off` is text."""

    yaml_implicit_resolvers: ClassVar[dict] = {}


for _tag, _pattern in {
    "null": r"~|null|",
    "bool": r"true|false",
    "int": r"[-+]?\d+",
    "float": r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?\.inf|\.nan",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$", re.IGNORECASE), None)


class Locked:
    """Entries of `dvc.lock`, beside today's `params`; none where the file is missing or damaged."""

    def __init__(self, params: Mapping[str, Any], file: Path = FILE) -> None:
        self._params = params
        try:
            self._items = dict(yaml.load(file.read_text("utf-8"), _Loader)["stages"])  # noqa: S506 - a safe loader
            self._outs = {out["path"]: (item, out["md5"]) for item, one in self._items.items() for out in one["outs"]}
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):  # as while DVC is writing it
            self._items, self._outs = {}, {}
        self._known: dict[str, bool] = {}

    def fits(self, item: str, *outputs: Path) -> bool | None:
        """Tell whether an item's results are of today's params and of the inputs that are here.

        None where it can't be told: there is no entry, or one of `outputs` here is not what the entry says.
        """
        known = (self._outs.get(path.as_posix(), ("", ""))[1] for path in outputs)
        if item not in self._items or any(_md5(path) != value for path, value in zip(outputs, known, strict=True)):
            return None
        return self._is_of_today(item)

    def _is_of_today(self, item: str) -> bool:
        if item not in self._known:
            self._known[item] = self._compare(self._items[item])
        return self._known[item]

    def _compare(self, entry: Mapping[str, Any]) -> bool:
        params = entry.get("params", {}).get("params.yaml", {})
        deps = {dep["path"]: dep.get("md5", "") for dep in entry.get("deps", ()) if dep["path"].startswith(_RUNS)}
        return all(self._is_same(key, value) for key, value in params.items()) and all(
            self._is_current(path, value) for path, value in deps.items()
        )

    def _is_same(self, key: str, value: Any) -> bool:
        """Tell whether a param has that value today, where it decides results: a selection chooses what there is."""
        found: Any = self._params
        for name in key.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return key in SELECTION or _deciding(key, found) == _deciding(key, value)

    def _is_current(self, path: str, value: str) -> bool:
        """Tell whether an input is the one that was read, and of today itself; what is not here counts as such."""
        if path in self._outs:
            item, written = self._outs[path]
            return written == value and self._is_of_today(item)
        around = [item for out, (item, _) in self._outs.items() if path.startswith(f"{out}/")]
        inside = [out for out in self._outs if out.startswith(f"{path}/")]
        if not Path(path).exists() or not all(Path(out).exists() for out in inside):
            return True
        return _md5(Path(path)) == value and all(map(self._is_of_today, around))


def _deciding(key: str, value: Any) -> Any:
    """Return of a param's value what decides results."""
    *above, name = key.split(".")
    if not isinstance(value, Mapping) or len(above) != len(("experiments", "<experiment>")):
        return value
    return {one: own for one, own in deciding({name: value})[name].items() if one not in _ASIDE.get(name, ())}


def _md5(path: Path) -> str:
    """Return the hash of a file or folder as DVC has it; of nothing, an empty text."""
    if not path.is_dir():
        return md5(path) if path.exists() else ""
    files = sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
    listed = [{"md5": md5(path / name), "relpath": name} for name in files]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
