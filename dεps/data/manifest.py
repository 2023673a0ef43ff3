"""`manifest.json`: what stage `prepare` says about the data beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.schema import check_plain
from dεps.data.config import DatasetConfig, read_classes

SPLITS = ("train", "validation", "test")
_TYPES = {
    "source": str,
    "name": str,
    "form": str,
    "size": int,
    "crop": float,
    "channels": int,
    "classes": list,
    "images": dict,
    "mean": list,
    "std": list,
    "sha256": dict,
    "params": dict,
}


def prepared_folder(experiment: str) -> Path:
    """Folder that stage `prepare` writes. It ends in the stage's name, so that no experiment's name can imitate it."""
    return Path("runs") / experiment / "prepare"


def read_manifest(folder: Path, config: DatasetConfig | None = None) -> dict[str, Any]:
    """Read the manifest of prepared data, and compare it with `config` where one is given.

    Raises `UserError` naming the file where it is missing, damaged or incomplete, or the first key of `config` that
    asks for other data than these.
    """
    path = folder / "manifest.json"
    manifest = read_json(path, "the stage 'prepare'")
    check_plain(manifest, f"{path}:")
    if key := _wrong(manifest):
        raise UserError(f"{path} cannot be used ('{key}' is missing or wrong); run the stage 'prepare' again")
    if config is not None and (stale := _staleness(manifest, config)):
        raise UserError(
            f"{path} is of {stale}; 'dvc repro --force --single-item prepare@{folder.parent.name}' makes it anew"
        )
    return manifest


def _staleness(manifest: dict[str, Any], config: DatasetConfig) -> str:
    """Say in words how `config` contradicts the prepared data; empty where they agree."""
    for key, value in config.facts().items():
        if (there := manifest["params"].get(key)) != value:
            return f"dataset.{key} {there!r}, but params.yaml says {value!r}"
    if config.classes and read_classes(config.classes) != manifest["classes"]:
        return f"other classes than the list {config.classes} (dataset.classes)"
    return ""


def _wrong(manifest: dict[str, Any]) -> str | None:
    """Name the first key that is missing or has an impossible value."""
    for key, kind in _TYPES.items():
        if not isinstance(manifest.get(key), kind) or not manifest[key]:
            return key
    if not 0.0 < manifest["crop"] <= 1.0:
        return "crop"
    if not all(isinstance(name, str) for name in manifest["classes"]):
        return "classes"
    for key in ("mean", "std"):
        values = manifest[key]
        numbers = all(isinstance(value, int | float) for value in values)
        if len(values) != manifest["channels"] or not numbers or (key == "std" and min(values) <= 0):
            return key
    counts, hashes = manifest["images"], manifest["sha256"]
    if not all(isinstance(counts.get(split), int) and counts[split] > 0 for split in SPLITS):
        return "images"
    return None if all(isinstance(hashes.get(split), str) for split in SPLITS) else "sha256"


def pixel_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of uint8 (…, channels), where 1 is white.

    From counts of the 256 values, so that the sums are exact, whatever the order of the images.
    """
    channels = pixels.shape[-1]
    values = np.arange(256, dtype=np.float64) / 255
    mean, std = [], []
    for channel in range(channels):
        counts = np.bincount(pixels[..., channel].ravel(), minlength=256)
        average = float(counts @ values / counts.sum())
        mean.append(round(average, 6))
        # A channel with a single value has nothing to scale.
        std.append(round(float(np.sqrt(counts @ (values - average) ** 2 / counts.sum())), 6) or 1.0)
    return mean, std
