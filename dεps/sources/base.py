"""What a data source is: one file in this folder with a class `Source`, found by the file's name.

    dεps/sources/<name>.py      class Source(DataSource): find(), and whatever else differs
    params/dataset/<any>.yaml   source: <name>

A source says which images there are and what they are labelled; `prepare` does the same with all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from dεps.core.errors import UserError
from dεps.core.schema import checked, structured
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.data.found import Found


@checked
class NoOptions:
    """For sources without keys of their own."""


class DataSource(ABC):
    """Where images come from, for one `dataset` section of params."""

    #: schema of `dataset.options`. No key may be called size or nfiles: DVC's run cache ignores such keys
    Options: ClassVar[type] = NoOptions
    #: keys of `dataset` that mean nothing here, so that another value than the default is refused
    unused: ClassVar[tuple[str, ...]] = ("classes", "splits")
    needs_root: ClassVar[bool] = True

    def __init__(self, config: DatasetConfig, where: str = "dataset") -> None:
        """Check all keys, without looking at any images. Raises `UserError` naming the key below `where`."""
        self.config = config
        self.options: Any = structured(self.Options, config.options, f"{where}.options")
        if self.needs_root and not config.root:
            raise UserError(f"{where}.root is not set; expected the path of the images ({config.source})")
        for key, default in (("classes", None), ("splits", SplitFolders())):
            if key in self.unused and getattr(config, key) != default:
                raise UserError(f"{where}.{key} is set, but source {config.source} has no choice there; leave it out")
        self.check(where)

    def check(self, where: str) -> None:  # noqa: B027 - most sources have nothing to add
        """Raise `UserError` naming a key below `where` whose value this source cannot use."""

    @abstractmethod
    def find(self, download: bool) -> Found:
        """Every image with its label. Raises `AbsentError` where they are not there and not to be downloaded."""

    def own_splits(self) -> tuple[str, ...]:
        """Which splits the source has of its own, as far as that is known without looking; others are held out."""
        return ("train", "test")

    @staticmethod
    @abstractmethod
    def example(folder: Path) -> dict[str, Any]:
        """Write a few made-up images below `folder`, by which tests check the source; returns keys of `dataset`."""
