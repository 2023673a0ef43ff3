"""What is there before anything is decoded or divided: images by name, each with its label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dεps.core.errors import UserError, is_odd
from dεps.data.folder import ImageFolder, Listings
from dεps.data.manifest import SPLITS

#: per split, images uint8 (n, height, width, 1 or 3) and labels int (n,)
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Found:
    """Everything a source holds, divided the way its authors divided it; at least into `train`."""

    #: names in the order of the labels
    classes: list[str]
    #: (image name, label) of every image, per split
    listings: Listings
    #: what turns a name into pixels: the folder of the files, or the arrays, whose images are called `<split>/<row>`
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
        for split, (images, labels) in self.images.items() if isinstance(self.images, dict) else ():
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
                form = "uint8 of shape (n, height, width, 1 or 3)"
                raise UserError(f"{where}: images of {split} are {images.dtype} {images.shape}; expected {form}")
            if len(images) != len(labels):
                raise UserError(f"{where}: {len(images):,} images but {len(labels):,} labels in {split}")
