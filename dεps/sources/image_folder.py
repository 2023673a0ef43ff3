"""Your own images in a folder or .zip; which files are read, and what is refused, says `dεps.data.folder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dεps.data.folder import ImageFolder
from dεps.sources.base import DataSource, Found


class Source(DataSource):
    """A folder of images a class."""

    unused = ()

    def find(self, download: bool) -> Found:
        """Lists the files; none is opened."""
        folder = ImageFolder(self.config.location(), self.config.crop)
        listings, classes = folder.splits(self.config.splits, self.config.classes)
        return Found(classes, listings, folder)

    def own_splits(self) -> tuple[str, ...]:
        """A validation folder may be missing even where it is named, so it is not counted on."""
        return ("train", "test") if self.config.splits.test else ("train",)

    @staticmethod
    def example(folder: Path) -> dict[str, Any]:
        """Noise in two classes, without a validation split."""
        rng = np.random.default_rng(0)
        for split, count in (("train", 8), ("test", 3)):
            for label in ("cat", "dog"):
                (folder / split / label).mkdir(parents=True)
                for number in range(count):
                    pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
                    Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
        return {"root": str(folder), "image_size": 16, "channels": 3, "holdout": 0.25}
