"""The `dataset` section of an experiment's params."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dεps.errors import UserError, check_numbers

SOURCES = ("fashion_mnist_mini", "torchvision", "image_folder")
TORCHVISION = ("fashion_mnist", "cifar10", "cifar100")


@dataclass
class SplitFolders:
    """Names of the split folders of an image folder; null: held out of train."""

    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"


@dataclass
class DatasetConfig:
    """Where images come from and in which form they are kept; one YAML in `params/dataset/`."""

    #: label in tables; for torchvision also which data set
    name: str
    source: str
    #: side in pixels; other images are resized (shorter side) and centre-cropped
    size: int
    #: 1 (grey) or 3 (RGB)
    channels: int
    #: image_folder: a directory or .zip; torchvision: where the official files are or go
    root: str | None = None
    #: the centre crop's share of the resized shorter side; on ImageNet methods are compared at 0.875
    crop: float = 1.0
    #: image_folder: text file with one class (folder name) a line; null takes every folder
    classes: str | None = None
    splits: SplitFolders = field(default_factory=SplitFolders)
    #: share of train held out as validation, and as test, where the source has no such split
    holdout: float = 0.1
    holdout_seed: int = 0
    #: images that the source's train and classes that it must hold, before anything is held out; null: unchecked
    train_images: int | None = None
    class_count: int | None = None
    #: splits whose pixels would take more than this stay files, decoded by workers while training
    in_memory_limit_mb: int = 2048
    workers: int = 2

    def location(self) -> Path:
        """Where the images are: `root`, from the main workspace on.

        DVC's experiment queue runs stages in copies without untracked files, and names the original in DVC_ROOT.
        """
        return Path(os.environ.get("DVC_ROOT") or ".") / (self.root or ".")

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if not self.name.strip():
            raise UserError(f"{where}.name is empty; expected a label for tables")
        if self.source not in SOURCES:
            raise UserError(f"{where}.source is {self.source!r}; allowed: {', '.join(SOURCES)}")
        if self.source == "torchvision" and self.name not in TORCHVISION:
            raise UserError(f"{where}.name is {self.name!r}; allowed: {', '.join(TORCHVISION)}")
        if self.source != "fashion_mnist_mini" and not self.root:
            raise UserError(f"{where}.root is not set; expected the path of the images ({self.source})")
        if self.channels not in (1, 3):
            raise UserError(f"{where}.channels is {self.channels}; allowed: 1, 3")
        if not 8 <= self.size <= 1024:
            raise UserError(f"{where}.size is {self.size}; expected 8 to 1024 pixels")
        if not 0.5 <= self.crop <= 1.0:
            raise UserError(f"{where}.crop is {self.crop}; expected a share of the shorter side, 0.5 to 1")
        if not 0.0 < self.holdout < 0.5:
            raise UserError(f"{where}.holdout is {self.holdout}; expected a share above 0 and below 0.5")
        for key in ("train_images", "class_count"):
            if getattr(self, key) is not None and getattr(self, key) < 1:
                raise UserError(f"{where}.{key} is {getattr(self, key)}; expected 1 or more, or null for any number")
        check_numbers(self, where, in_memory_limit_mb=(0, 10**9), workers=(0, 256))
