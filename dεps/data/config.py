"""The `dataset` section of an experiment's params: the keys that all data sources share.

Which sources exist, and what each makes of these keys, is checked where sources are known: `dεps.sources.registry`.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dεps.core.errors import UserError, check_numbers, is_odd

DUPLICATES = ("error", "allow")


@dataclass
class SplitFolders:
    """What the source calls each split: a folder's name, or one that torchvision knows; null: held out of train."""

    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that is no folder's name, or two that name one folder."""
        named = {key: name for key, name in vars(self).items() if name is not None}
        for key, name in named.items():
            if not name.strip() or name.startswith(".") or "/" in name or "\\" in name or is_odd(name):
                raise UserError(f"{where}.{key} is {name!r}; expected the name of a split or of its folder")
        for (one, name), (other, again) in itertools.combinations(named.items(), 2):
            if name == again:
                raise UserError(f"{where}.{one} and {where}.{other} are both {name!r}; expected different splits")


@dataclass
class DatasetConfig:
    """Where images come from and in which form they are kept; one YAML in `params/dataset/`."""

    #: label in tables; for source torchvision also which data set
    name: str
    #: a file in `dεps/sources/`
    source: str
    #: side in pixels; other images are resized (shorter side) and centre-cropped. Not "size": DVC's run cache would
    #: ignore the key, and restore images of another size
    image_size: int
    #: 1 (grey) or 3 (RGB)
    channels: int
    #: where the images are: a directory or .zip, or where official files are or go
    root: str | None = None
    #: the centre crop's share of the resized shorter side; on ImageNet methods are compared at 0.875
    crop: float = 1.0
    #: image_folder: text file with one class (folder name) a line; null takes every folder
    classes: str | None = None
    splits: SplitFolders = field(default_factory=SplitFolders)
    #: share of train held out as validation, and as test, where the source has no such split
    holdout: float = 0.1
    holdout_seed: int = 0
    #: what to do about equal images in two of the source's splits: error, or allow
    duplicates: str = "error"
    #: images that the source's train and classes that it must hold, before anything is held out; null: unchecked
    train_images: int | None = None
    class_count: int | None = None
    #: splits whose pixels would take more than this stay files, decoded by workers while training
    in_memory_limit_mb: int = 2048
    workers: int = 2
    #: whether the source may fetch what is not in `root`
    download: bool = True
    #: keys that only this source has
    options: dict[str, Any] = field(default_factory=dict)

    #: former names of keys
    renamed: ClassVar[dict[str, str]] = {"size": "image_size"}

    def location(self) -> Path:
        """Where the images are: `root`, from the main workspace on.

        DVC's experiment queue runs stages in copies without untracked files, and names the original in DVC_ROOT.
        """
        return Path(os.environ.get("DVC_ROOT") or ".") / (self.root or ".")

    def facts(self) -> dict[str, Any]:
        """What decides the images of each split, by its name in params; the manifest of prepared data says it too.

        But for the names in a class list, which are the manifest's classes, and what lies in `root`.
        """
        keys = ("source", "name", "image_size", "channels", "crop", "holdout", "holdout_seed", "duplicates")
        classes = "a list" if self.classes else "all"
        facts = {key: getattr(self, key) for key in keys} | {"classes": classes, "splits": dict(vars(self.splits))}
        options = {key: value for key, value in self.options.items() if value is not None}
        return facts | ({"options": options} if options else {})

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if not self.name.strip():
            raise UserError(f"{where}.name is empty; expected a label for tables")
        if self.channels not in (1, 3):
            raise UserError(f"{where}.channels is {self.channels}; allowed: 1, 3")
        if not 8 <= self.image_size <= 1024:
            raise UserError(f"{where}.image_size is {self.image_size}; expected 8 to 1024 pixels")
        if not 0.5 <= self.crop <= 1.0:
            raise UserError(f"{where}.crop is {self.crop}; expected a share of the shorter side, 0.5 to 1")
        if not 0.0 < self.holdout < 0.5:
            raise UserError(f"{where}.holdout is {self.holdout}; expected a share above 0 and below 0.5")
        if self.duplicates not in DUPLICATES:
            raise UserError(f"{where}.duplicates is {self.duplicates!r}; allowed: {', '.join(DUPLICATES)}")
        for key in ("train_images", "class_count"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise UserError(f"{where}.{key} is {getattr(self, key)}; expected 1 or more, or null for any number")
        check_numbers(self, where, in_memory_limit_mb=(0, 10**9), workers=(0, 256))


def read_classes(path: str) -> list[str]:
    """The names in a class list, one a line, blanks within them kept. Raises `UserError` naming file and line."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"class list {path} (dataset.classes) cannot be read: {error}; expected UTF-8 text") from None
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (name := line.strip()):
            continue
        if name in lines:
            raise UserError(
                f"class list {path} (dataset.classes) names '{name}' twice, in lines {lines[name]} and {number}"
            )
        lines[name] = number
    if not lines:
        raise UserError(f"class list {path} (dataset.classes) is empty; expected a class (folder name) a line")
    return list(lines)
