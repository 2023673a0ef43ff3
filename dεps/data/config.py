"""The `dataset` section of an experiment, and what training does to images (`train.augment`).

The keys are those that all data sources share; what each makes of them is checked in `dεps.sources`.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dεps.core.errors import UserError, is_odd
from dεps.core.schema import Channels, Label, Probability, checked, formerly, rule


def _names_a_folder(name: str) -> bool:
    return bool(name.strip()) and not (name.startswith(".") or "/" in name or "\\" in name or is_odd(name))


SplitName = Annotated[str, rule(_names_a_folder, "expected the name of a split or of its folder")]


@checked
class SplitFolders:
    """What the source calls each split: a folder's name, or one that torchvision knows; null: held out of train."""

    train: SplitName = "train"
    validation: SplitName | None = "validation"
    test: SplitName | None = "test"

    @model_validator(mode="after")
    def _differ(self) -> SplitFolders:
        for (one, name), (other, again) in itertools.combinations(vars(self).items(), 2):
            if name is not None and name == again:
                raise ValueError(f"{one} is {name!r}, as {other} is; expected different splits")
        return self


@checked
class DatasetConfig:
    """Where images come from and in which form they are kept; one YAML in `params/dataset/`."""

    #: label in tables; for source torchvision also which data set
    name: Label
    #: a file in `dεps/sources/`
    source: str
    #: side in pixels; other images are resized (shorter side) and centre-cropped. Not "size": DVC's run cache would
    #: ignore the key, and restore images of another size
    image_size: Annotated[int, Field(ge=8, le=1024), formerly("size")]
    #: 1 (grey) or 3 (RGB)
    channels: Channels
    #: where the images are: a directory or .zip, or where official files are or go
    root: str | None = None
    #: the centre crop's share of the resized shorter side; on ImageNet methods are compared at 0.875
    crop: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    #: image_folder: text file with one class (folder name) a line; null takes every folder
    classes: str | None = None
    splits: SplitFolders = field(default_factory=SplitFolders)
    #: share of train held out as validation, and as test, where the source has no such split
    holdout: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    #: decides which images are held out
    holdout_seed: int = 0
    #: what to do about equal images in two of the source's splits
    duplicates: Literal["error", "allow"] = "error"
    #: images that the source's train must hold, before anything is held out; null: any number
    train_images: Annotated[int, Field(ge=1)] | None = None
    #: classes that the source must hold; null: any number
    class_count: Annotated[int, Field(ge=1)] | None = None
    #: MB of memory; splits whose pixels would take more stay files, decoded by `workers` while training
    in_memory_limit_mb: Annotated[int, Field(ge=0, le=10**9)] = 2048
    #: processes that decode and augment images; 0: the training process does it
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    #: whether the source may fetch what is not in `root`
    download: bool = True
    #: keys that only this source has
    options: dict[str, Any] = field(default_factory=dict)

    def location(self) -> Path:
        """Where the images are: `root`, from the workspace on, which DVC_ROOT names in the copies of DVC's queue."""
        return Path(os.environ.get("DVC_ROOT") or ".") / (self.root or ".")

    def facts(self) -> dict[str, Any]:
        """What decides the images of each split beside what lies in `root` and a class list, by its name in params."""
        keys = ("source", "name", "image_size", "channels", "crop", "holdout", "holdout_seed", "duplicates")
        classes = "a list" if self.classes else "all"
        facts = {key: getattr(self, key) for key in keys} | {"classes": classes, "splits": dict(vars(self.splits))}
        options = {key: value for key, value in self.options.items() if value is not None}
        return facts | ({"options": options} if options else {})


def _are_strengths(values: list[float]) -> bool:
    return not values or (len(values) == 4 and all(0 <= one <= 100 for one in values) and values[3] <= 0.5)


_STRENGTHS = "expected [] or [brightness, contrast, saturation, hue], each 0 to 100, hue at most 0.5"
#: α of the beta distribution that a mixing ratio is drawn from; 0: no mixing
Mixing = Annotated[float, Field(ge=0, le=1000)]


@checked
class AugmentConfig:
    """How training images are augmented; the keys stand in the order in which they are applied."""

    #: smallest share of the image's area that a random crop keeps, before it is resized (ImageNet: 0.08); 0: no crop
    resized_crop: Probability = 0.0
    #: mirror half of the images
    flip: bool = True
    #: pixels by which each border is reflected before a random crop of the image's own size; 0: no crop
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 4
    #: learned policy (AutoAugment, arXiv 1805.09501)
    auto_augment: Literal["none", "imagenet", "cifar10"] = "none"
    #: strengths of brightness, contrast, saturation and hue; empty: none
    color_jitter: Annotated[list[float], rule(_are_strengths, _STRENGTHS)] = field(default_factory=list)
    #: probability that a rectangle is replaced by the mean colour (arXiv 1708.04896)
    random_erasing: Probability = 0.0
    #: of mixup (arXiv 1710.09412)
    mixup: Mixing = 0.0
    #: of CutMix (arXiv 1905.04899); with mixup too, each batch draws one of them
    cutmix: Mixing = 0.0

    def check_images(self, where: str, size: int, channels: int) -> None:
        """Raise `UserError` naming the key below `where` that does not suit images of this side and these channels."""
        if self.crop_padding >= size:
            expected = f"expected less than dataset.image_size, {size}"
            raise UserError(f"{where}.crop_padding is {self.crop_padding}; {expected}")
        if channels == 3:
            return
        if self.auto_augment != "none":
            raise UserError(f"{where}.auto_augment is {self.auto_augment!r}, which needs dataset.channels 3; set none")
        if any(self.color_jitter[2:]):
            needs = "saturation and hue need dataset.channels 3; set both to 0"
            raise UserError(f"{where}.color_jitter is {self.color_jitter}, but {needs}")

    @property
    def per_image(self) -> bool:
        """Whether any of it works image by image, rather than on whole batches."""
        policy = self.auto_augment != "none"
        return self.resized_crop > 0 or policy or any(self.color_jitter) or self.random_erasing > 0

    @property
    def mixes(self) -> bool:
        """Whether the images of a batch are mixed with each other, and their labels with them."""
        return self.mixup > 0 or self.cutmix > 0


def read_classes(path: str) -> list[str]:
    """The names in a class list, one a line, blanks within them kept. Raises `UserError` naming file and line."""
    known = f"class list {path} (dataset.classes)"
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{known} cannot be read: {error}; expected UTF-8 text") from None
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if (name := line.strip()) in lines:
            raise UserError(f"{known} names '{name}' twice, in lines {lines[name]} and {number}")
        if name:
            lines[name] = number
    if not lines:
        raise UserError(f"{known} is empty; expected a class (folder name) a line")
    return list(lines)
