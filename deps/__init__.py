"""dεps for keyboards without ε: the same objects under the same names.

`deps.SearchSpace is dεps.SearchSpace`, and a module below `deps.` is the one below `dεps.`: `deps.spaces.space` is
never a second copy of `dεps.spaces.space`. Nothing is imported before it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dεps import *  # noqa: F403


class _SameModules:
    """Finds and loads each module below `deps.` as the one below `dεps.`."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        top, _, rest = name.partition(".")
        if top != "deps" or rest in ("", "__main__") or find_spec(f"dεps.{rest}") is None:
            return None  # the module of the entry point is the only one that is here
        return ModuleSpec(name, self)  # pyright: ignore[reportArgumentType] - a loader by its methods

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves it to Python to make a module, which `exec_module` replaces."""

    def exec_module(self, module: Any) -> None:
        sys.modules[module.__name__] = import_module(f"dεps.{module.__name__.partition('.')[2]}")

    def get_code(self, name: str) -> Any:
        """Return what `python -m deps.x` runs: the code of `dεps.x`."""
        spec = find_spec(f"dεps.{name.partition('.')[2]}")
        return spec.loader.get_code(spec.name) if spec else None  # pyright: ignore


# Before the finder that looks into folders, which would make a second copy of what is in a folder of dεps.
sys.meta_path.insert(0, _SameModules())  # pyright: ignore[reportArgumentType]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name != "__all__":  # what Python and tools ask a module for
            raise AttributeError(f"module 'deps' has no attribute {name!r}")
        return getattr(import_module("dεps"), name)


def __dir__() -> list[str]:
    return dir(import_module("dεps"))
