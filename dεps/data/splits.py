"""Prepared data as training and evaluation see it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dεps.data.config import DatasetConfig
from dεps.data.folder import ImageFolder, to_picture
from dεps.errors import UserError


@dataclass(frozen=True)
class Split:
    """One split: pixels in memory (`images`), or the names of files to decode (`files`)."""

    labels: Tensor  # int64 (n,)
    images: Tensor | None  # uint8 (n, size, size, channels)
    files: tuple[str, ...] | None
    folder: ImageFolder | None
    size: int
    channels: int
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, indices: Tensor) -> Split:
        """The images at `indices` int64 (n,) alone."""
        images = None if self.images is None else self.images[indices]
        files = None if self.files is None else tuple(self.files[index] for index in indices.tolist())
        return replace(self, labels=self.labels[indices], images=images, files=files)

    def read(self, indices: Tensor) -> Tensor:
        """Pixels uint8 (batch, size, size, channels) of the images at `indices` int64 (batch,)."""
        if self.images is not None:
            return self.images[indices]
        rows = [self.folder.read(self.files[index], self.size, self.channels) for index in indices.tolist()]
        return torch.stack([torch.from_numpy(row.copy()) for row in rows])

    def picture(self, index: int) -> Image.Image:
        """One image as a picture: of a file all of it, uncropped and in its own size."""
        if self.images is None:
            return self.folder.picture(self.files[index], self.channels)
        return to_picture(self.images[index].numpy())


class PreparedData:
    """The output folder of stage `prepare`; splits are loaded when first asked for."""

    def __init__(self, folder: Path, config: DatasetConfig) -> None:
        self.folder, self.config = folder, config
        try:
            self.manifest: dict = json.loads((folder / "manifest.json").read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{folder / 'manifest.json'} cannot be read ({error}); run the stage 'prepare'") from None

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
        """What supernets learn from."""
        return self._load("train")

    @cached_property
    def validation(self) -> Split:
        """What everything that chooses may look at."""
        return self._load("validation")

    @cached_property
    def test(self) -> Split:
        """For numbers that are reported, nothing else."""
        return self._load("test")

    def _load(self, name: str) -> Split:
        path = self.folder / f"{name}.safetensors"
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read ({error}); run the stage 'prepare' again") from None
        files = folder = None
        if "images" not in tensors:
            files = tuple((self.folder / f"{name}.files.txt").read_text().splitlines())
            folder = ImageFolder(self.config.location())
        size, channels = self.manifest["size"], self.manifest["channels"]
        return Split(tensors["labels"], tensors.get("images"), files, folder, size, channels, len(self.classes))
