"""7,000 + 1,000 + 2,000 images of Fashion-MNIST, embedded in the package; `fashion_mnist_mini/make.py` made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dεps.core.errors import UserError
from dεps.core.hashing import sha256
from dεps.data.found import Arrays, Found
from dεps.sources.base import DataSource

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
CLASSES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
FOLDER = Path(__file__).parent / "fashion_mnist_mini"


class Source(DataSource):
    """The embedded images."""

    needs_root = False

    def find(self, download: bool) -> Found:
        """All of them, of 28 × 28 grey pixels."""
        return Found.of_arrays(read(), CLASSES)

    @staticmethod
    def example(folder: Path) -> dict[str, Any]:
        """Nothing to write: the images are there."""
        return {"image_size": 28, "channels": 1}


def read(folder: Path = FOLDER) -> Arrays:
    """`{split: (images uint8 (n, 28, 28, 1), labels int64 (n,))}`. Raises `UserError` naming a damaged file."""
    arrays = {}
    for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines():
        known, name = line.split()
        data = (folder / name).read_bytes()
        if sha256(data) != known:
            raise UserError(f"{folder / name} is damaged: its SHA-256 differs from SHA256SUMS; restore it from git")
        with Image.open(folder / name) as picture:
            rows = np.asarray(picture).reshape(-1, 28, 100, 28)
        images = np.ascontiguousarray(rows.swapaxes(1, 2).reshape(-1, 28, 28, 1))
        arrays[name.removesuffix(".png")] = (images, np.arange(len(images)) % 10)
    return arrays
