"""Makes the embedded data set from Fashion-MNIST's official files.

    python dεps/sources/fashion_mnist_mini/make.py FOLDER

FOLDER holds the four `*-ubyte.gz` files; Debian's package `dataset-fashion-mnist` installs them. Per class the first
700 training images become the train split, the next 100 validation, and the first 200 test images the test split.
Each split is one grey PNG, 100 images a row, in an order that cycles through the classes: image i shows class i % 10.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, SIDE, PER_ROW = 10, 28, 100
#: split: (file prefix, first image of a class, one past the last)
SPLITS = {"train": ("train", 0, 700), "validation": ("train", 700, 800), "test": ("t10k", 0, 200)}


def _read(path: Path, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def main(folder: Path, target: Path) -> None:
    """Write `<split>.png` and `SHA256SUMS` to `target`."""
    sums = []
    for split, (prefix, first, last) in SPLITS.items():
        images = _read(folder / f"{prefix}-images-idx3-ubyte.gz", 16).reshape(-1, SIDE, SIDE)
        labels = _read(folder / f"{prefix}-labels-idx1-ubyte.gz", 8)
        chosen = np.stack([np.flatnonzero(labels == label)[first:last] for label in range(CLASSES)], axis=1).ravel()
        rows = images[chosen].reshape(-1, PER_ROW, SIDE, SIDE).swapaxes(1, 2)
        path = target / f"{split}.png"
        Image.fromarray(rows.reshape(-1, PER_ROW * SIDE)).save(path, optimize=True)
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (target / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
