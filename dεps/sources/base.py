"""What a data source is: one file in this folder with a class `Source`, found by the file's name.

    dεps/sources/<name>.py      class Source(DataSource): find(), and whatever else differs
    params/dataset/<any>.yaml   source: <name>

A source says which images there are and what they are labelled. Everything after that is the same for all of them and
lies in `prepare`: copies, splits that are held out of train, resizing, the files that are written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dεps.core.errors import UserError, is_odd
from dεps.core.schema import checked, structured
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.data.folder import ImageFolder, Listings
from dεps.data.manifest import SPLITS

#: per split, images uint8 (n, height, width, 1 or 3) and labels int (n,)
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Found:
    """Everything a source holds, divided the way its authors divided it; at least into `train`.

    Attributes:
        classes: names in the order of the labels.
        listings: (image name, label) of every image, per split.
        images: what turns a name into pixels: the folder that holds the files, or the arrays, whose images are called
            `<split>/<row>`.
    """

    classes: list[str]
    listings: Listings
    images: ImageFolder | Arrays

    @classmethod
    def of_arrays(cls, arrays: Arrays, classes: list[str]) -> Found:
        """Images that are in memory already. Raises `UserError` for labels that are no whole numbers."""
        listings = {}
        for split, (_, labels) in arrays.items():
            if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
                raise UserError(f"labels of {split} are {labels.dtype} {labels.shape}; expected one whole number each")
            listings[split] = [(f"{split}/{row}", int(label)) for row, label in enumerate(labels)]
        return cls(classes, listings, arrays)

    def check(self, where: str) -> None:
        """Raise `UserError`, which begins with `where`, for anything that could not be trained on or measured."""
        names, count = self.classes, len(self.classes)
        if count < 2 or len(set(names)) < count or not all(name.strip() and not is_odd(name) for name in names):
            raise UserError(f"{where}: {count} classes {names[:3]}; expected two or more, all named differently")
        if "train" not in self.listings or not set(self.listings) <= set(SPLITS):
            raise UserError(f"{where} has the splits {', '.join(self.listings)}; expected train of {', '.join(SPLITS)}")
        owner: dict[str, str] = {}
        for split, items in self.listings.items():
            if not items:
                raise UserError(f"{where}: no images in split '{split}'")
            for name, label in items:
                if not 0 <= label < count:
                    raise UserError(f"{where}: '{name}' has the label {label}; expected 0 to {count - 1}")
                if (other := owner.setdefault(name, split)) != split:
                    raise UserError(f"{where}: '{name}' is in {other} and in {split}; splits must not share images")
        if lacking := sorted(set(range(count)) - {label for _, label in self.listings["train"]}):
            raise UserError(f"{where}: class '{names[lacking[0]]}' has no images in train")
        if isinstance(self.images, dict):
            self._check_arrays(where, self.images)

    def _check_arrays(self, where: str, arrays: Arrays) -> None:
        for split, (images, labels) in arrays.items():
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
                form = "uint8 of shape (n, height, width, 1 or 3)"
                raise UserError(f"{where}: images of {split} are {images.dtype} {images.shape}; expected {form}")
            if len(images) != len(labels):
                raise UserError(f"{where}: {len(images):,} images but {len(labels):,} labels in {split}")


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
        """Every image with its label.

        Raises `AbsentError` where the images are not there and are not to be downloaded, else `UserError` for what is
        wrong with them.
        """

    def own_splits(self) -> tuple[str, ...]:
        """Which splits the source has of its own, as far as that is known without looking; others are held out."""
        return ("train", "test")

    @staticmethod
    @abstractmethod
    def example(folder: Path) -> dict[str, Any]:
        """Write a few made-up images below `folder` in the form this source reads; returns keys of `dataset`.

        Tests hold each source to the common rules on its example.
        """
