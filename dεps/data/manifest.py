"""`manifest.json`: what stage `prepare` says about the data beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig, read_classes

SPLITS = ("train", "validation", "test")
_Text = Annotated[str, Field(min_length=1)]
_Positive = Annotated[int, Field(ge=1)]
_Split = Literal["train", "validation", "test"]


class _Manifest(BaseModel):
    """What others rely on; there are more keys. A mapping of three items names each split."""

    source: _Text
    name: _Text
    form: _Text
    size: _Positive
    crop: Annotated[float, Field(gt=0, le=1)]
    channels: _Positive
    classes: Annotated[list[str], Field(min_length=1)]
    images: Annotated[dict[_Split, _Positive], Field(min_length=3)]
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    sha256: Annotated[dict[_Split, str], Field(min_length=3)]
    params: Annotated[dict[str, Any], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> _Manifest:
        if not self.channels == len(self.mean) == len(self.std):
            raise ValueError(f"channels is {self.channels}; expected the numbers of mean and of std")
        return self


def prepared_folder(experiment: str) -> Path:
    """Folder that stage `prepare` writes. It ends in the stage's name, so that no experiment's name can imitate it."""
    return Path("runs") / experiment / "prepare"


def read_manifest(folder: Path, config: DatasetConfig | None = None) -> dict[str, Any]:
    """Read the manifest of prepared data. Raises `UserError` naming a damaged key, or one that `config` contradicts."""
    path = folder / "manifest.json"
    manifest = read_json(path, "the stage 'prepare'")
    try:
        structured(_Manifest, manifest, str(path), as_written=True)
    except UserError as error:
        raise UserError(f"{error}; run the stage 'prepare' again") from None
    cure = f"'dvc repro --force --single-item prepare@{folder.parent.name}' makes it anew"
    for key, value in config.facts().items() if config else ():
        if (there := manifest["params"].get(key)) != value:
            raise UserError(f"{path} is of dataset.{key} {there!r}, but params.yaml says {value!r}; {cure}")
    if config and config.classes and read_classes(config.classes) != manifest["classes"]:
        raise UserError(f"{path} is of other classes than the list {config.classes} (dataset.classes); {cure}")
    return manifest


def described(
    config: DatasetConfig,
    form: str,
    classes: list[str],
    labels: Mapping[str, np.ndarray],
    pixels: np.ndarray,
    hashes: dict[str, str],
    **more: Any,
) -> dict[str, Any]:
    """What the manifest says of splits with these labels; mean and standard deviation are of `pixels` uint8 (…, c)."""
    mean, std = pixel_statistics(pixels)
    counts = {split: np.bincount(values, minlength=len(classes)).tolist() for split, values in labels.items()}
    return {
        "source": config.source,
        "name": config.name,
        "form": form,
        "size": config.image_size,
        "crop": config.crop,
        "channels": config.channels,
        "classes": classes,
        "images": {split: sum(counts.get(split, [])) for split in SPLITS},
        "images_total": sum(map(sum, counts.values())),
        "per_class": counts,
        "mean": mean,
        "std": std,
        "sha256": hashes,
        **more,
    }


def pixel_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 (…, channels), 1 = white, exact in any order of images."""
    values = np.arange(256, dtype=np.float64) / 255
    mean, std = [], []
    for channel in range(pixels.shape[-1]):
        counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
        average = float(counts @ values / counts.sum())
        mean.append(round(average, 6))
        # A channel with a single value has nothing to scale.
        std.append(round(float(np.sqrt(counts @ (values - average) ** 2 / counts.sum())), 6) or 1.0)
    return mean, std
