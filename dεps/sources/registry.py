"""From `dataset.source` to its class: every other file of this folder is a source and is found by its name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from dεps.core.errors import UserError
from dεps.data.config import DatasetConfig
from dεps.sources.base import DataSource

_NOT_SOURCES = {"__init__", "base", "copies", "prepare", "registry"}


def names() -> list[str]:
    """Allowed values of `dataset.source`."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_SOURCES)


def kind(name: str, where: str = "dataset") -> type[DataSource]:
    """The class of the source `name`. Raises `UserError` naming those there are."""
    if name not in names():
        raise UserError(f"{where}.source is {name!r}; allowed: {', '.join(names())}")
    return import_module(f"dεps.sources.{name}").Source


def source_of(config: DatasetConfig, where: str = "dataset") -> DataSource:
    """The source that a `dataset` section names, its keys checked. Raises `UserError` naming a key below `where`."""
    return kind(config.source, where)(config, where)
