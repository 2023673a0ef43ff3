"""Prepared data, as training and evaluation read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.tensors import read_tensors
from dεps.data.arrays import Pair, checked
from dεps.data.config import DatasetConfig
from dεps.data.folder import ImageFolder, to_picture
from dεps.data.manifest import read_manifest

CURE = "run the stage 'prepare' again"


@dataclass(frozen=True)
class Split:
    """One split, either as pixels in memory or as files that are decoded whenever they are read."""

    #: int64 (n,)
    labels: Tensor
    #: pixels uint8 (n, size, size, channels)
    images: Tensor | None
    #: without pixels, the images' names and what reads them
    files: tuple[str, ...] | None
    folder: ImageFolder | None
    #: side of the images in pixels
    size: int
    channels: int
    #: number of classes
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, indices: Tensor) -> Split:
        """Return a split of the images at `indices` int64 (n,) alone."""
        images = None if self.images is None else self.images[indices]
        files = None if self.files is None else tuple(self.files[index] for index in indices.tolist())
        return replace(self, labels=self.labels[indices], images=images, files=files)

    def read(self, indices: Tensor) -> Tensor:
        """Read the images at `indices` int64 (batch,): uint8 (batch, size, size, channels)."""
        if self.images is not None:
            return self.images[indices]
        folder, files = self._of_files
        rows = [folder.read(files[index], self.size, self.channels) for index in indices.tolist()]
        return torch.stack([torch.from_numpy(row.copy()) for row in rows])

    def picture(self, index: int) -> Image.Image:
        """Return one image as a picture; of a file the whole picture, neither resized nor cropped."""
        if self.images is not None:
            return to_picture(self.images[index].numpy())
        folder, files = self._of_files
        return folder.picture(files[index], self.channels)

    @property
    def _of_files(self) -> tuple[ImageFolder, tuple[str, ...]]:
        if self.folder is None or self.files is None:
            raise ValueError("a split has neither pixels nor files")
        return self.folder, self.files


class PreparedData:
    """Data as stage `prepare` leaves them in a folder; each split is loaded when it is first asked for.

    `manifest` holds `manifest.json`; `workers` processes decode and augment ahead of training. Raises `UserError` where
    the data were prepared under another `config`.
    """

    def __init__(self, folder: Path, config: DatasetConfig) -> None:
        self.folder, self.config, self.workers = folder, config, config.workers
        self.manifest = read_manifest(folder, config)

    @staticmethod
    def from_arrays(
        train: Pair,
        validation: Pair,
        test: Pair | None = None,
        *,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        duplicates: str = "error",
        workers: int = 0,
    ) -> PreparedData:
        """Data from arrays of NumPy or torch, copied: all as a stage would have prepared them.

        Args:
            train: images and labels to learn from, with at least one image of each class. Images are uint8, squares,
                (n, size, size), (n, size, size, channels) or (n, channels, size, size), grey (1) or RGB (3), white 255;
                labels are whole numbers from 0, (n,).
            validation: what everything that chooses may look at; of the same size and channels, as is `test`.
            test: for numbers that are reported, nothing else; None: `data.test` is an error.
            classes: names in the order of the labels; default: "0", "1", … up to the largest label in `train`.
            name: label in tables and exported files.
            duplicates: "error", or "allow": whether an image may be in two splits.
            workers: processes for augmentation that works image by image.

        Raises `UserError`, one line that names the split, for anything else: no value is clipped, no image dropped.

        >>> PreparedData.from_arrays((images, labels), validation=(other_images, other_labels))
        """
        arrays, manifest = checked({"train": train, "validation": validation, "test": test}, classes, name, duplicates)
        size, channels, count = manifest["size"], manifest["channels"], len(manifest["classes"])
        splits = {
            split: Split(torch.from_numpy(labels), torch.from_numpy(images), None, None, size, channels, count)
            for split, (images, labels) in arrays.items()
        }
        return InMemory(splits, manifest, workers)

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the labels."""
        return self.manifest["classes"]

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return self.manifest["channels"]

    @cached_property
    def train(self) -> Split:
        """Images that supernets learn from."""
        return self._load("train")

    @cached_property
    def validation(self) -> Split:
        """Images for everything that chooses: predictor, search, tuning, export."""
        return self._load("validation")

    @cached_property
    def test(self) -> Split:
        """Images for numbers that are reported, and for nothing else."""
        return self._load("test")

    def _load(self, name: str) -> Split:
        path = self.folder / f"{name}.safetensors"
        tensors = read_tensors(path, "split", CURE)
        size, channels, count = self.manifest["size"], self.manifest["channels"], self.manifest["images"][name]
        labels, images = tensors.get("labels"), tensors.get("images")
        if labels is None or labels.dtype != torch.int64 or labels.shape != (count,):
            raise UserError(f"{path} has no {count:,} labels, as manifest.json says; {CURE}")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise UserError(f"{path} holds labels that are none of the {len(self.classes)} classes; {CURE}")
        if images is not None and (images.dtype != torch.uint8 or images.shape != (count, size, size, channels)):
            there = "×".join(map(str, images.shape))
            raise UserError(f"{path} holds images of {images.dtype}, {there}; manifest.json says otherwise; {CURE}")
        files = folder = None
        if images is None:
            files, folder = self._files(name, count), ImageFolder(self.config.location(), self.manifest["crop"])
        return Split(labels, images, files, folder, size, channels, len(self.classes))

    def _files(self, name: str, count: int) -> tuple[str, ...]:
        path = self.folder / f"{name}.files.txt"
        try:
            *files, rest = path.read_text("utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); {CURE}") from None
        if rest or len(files) != count:
            raise UserError(f"{path} does not name {count:,} files, as manifest.json says; {CURE}")
        if self.config.root is None:
            raise UserError(f"{self.folder} was prepared from files, but dataset.root is not set; {CURE}")
        return tuple(files)


class InMemory(PreparedData):
    """Data whose splits are in memory already, with a manifest that describes them."""

    def __init__(self, splits: Mapping[str, Split], manifest: dict[str, Any], workers: int = 0) -> None:
        self.folder, self.manifest, self.workers = Path(manifest["name"]), manifest, workers
        self.splits = dict(splits)

    def _load(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"the data {self.folder} has no {name} split; give one to PreparedData.from_arrays")
        return self.splits[name]
