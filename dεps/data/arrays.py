"""Check images and labels that a caller holds in memory: nothing is clipped, converted or dropped silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.hashing import sha256
from dεps.data.manifest import SPLITS, pixel_statistics

Array: TypeAlias = np.ndarray | Tensor
#: images and labels
Pair: TypeAlias = tuple[Array, Array | Sequence[int]]
#: side of images in pixels, as `dataset.image_size` has it
SMALLEST, LARGEST = 8, 1024


class Arrays(NamedTuple):
    """Checked copies of each split, images uint8 (n, size, size, channels) and labels int64 (n,), and a manifest."""

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    manifest: dict[str, Any]


def checked(pairs: dict[str, Pair | None], classes: Sequence[str] | None, name: str, duplicates: str) -> Arrays:
    """Check and copy all splits, and say of them what `manifest.json` would. Raises `UserError` naming the split."""
    images: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    for split, pair in pairs.items():
        if pair is not None:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UserError(f"{split} is a {type(pair).__name__}; expected a pair (images, labels)")
            images[split] = _images(pair[0], f"{split} images")
            labels[split] = _labels(pair[1], len(images[split]), f"{split} labels")
    _check_alike(images)
    named = _class_names(classes, labels["train"])
    for split, values in labels.items():
        _check_classes(values, len(named), split)
    if duplicates not in ("error", "allow"):
        raise UserError(f"duplicates is {duplicates!r}; allowed: error, allow")
    shared = _shared(images)
    if shared and duplicates == "error":
        raise UserError(
            f"{len(shared):,} images are in two splits, such as {shared[0]}; remove them from one, or pass "
            "duplicates='allow'"
        )
    train = images["train"]
    mean, std = pixel_statistics(train)
    counts = {split: np.bincount(values, minlength=len(named)).tolist() for split, values in labels.items()}
    hashes = {split: sha256(save({"images": images[split], "labels": labels[split]})) for split in images}
    manifest = {
        "source": "arrays",
        "name": name,
        "form": "tensor",
        "size": train.shape[1],
        "crop": 1.0,
        "channels": train.shape[3],
        "classes": named,
        "images": {split: sum(counts.get(split, [])) for split in SPLITS},
        "images_total": sum(map(sum, counts.values())),
        "per_class": counts,
        "mean": mean,
        "std": std,
        "sha256": hashes,
        "shared_images": len(shared),
        "params": {},
    }
    return Arrays(_tensors(images), _tensors(labels), manifest)


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {split: torch.from_numpy(array) for split, array in arrays.items()}


def _numpy(value: Any, where: str) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise UserError(f"{where} are a masked array, whose mask would be lost; expected a plain one")
    if isinstance(value, Tensor):
        # NumPy lacks some of torch's floats. All floats are refused later, by their type.
        value = value.detach().cpu().float() if value.is_floating_point() else value.detach().cpu()
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} are no array ({error}); expected one of NumPy or torch") from None


def _images(value: Any, where: str) -> np.ndarray:
    """Check and copy images to uint8 (n, size, size, channels)."""
    array = _numpy(value, where)
    if array.dtype != np.uint8:
        raise UserError(f"{where} are {array.dtype}; expected uint8, whose 255 is white")
    shape = "×".join(map(str, array.shape))
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        forms = "(n, size, size), (n, size, size, channels) or (n, channels, size, size) with 1 or 3 channels"
        raise UserError(f"{where} have the shape {shape}; expected {forms}")
    if len(array) == 0:
        raise UserError(f"{where} are none (shape {shape}); expected at least one")
    _, height, width, _ = array.shape
    if height != width or not SMALLEST <= height <= LARGEST:
        expected = f"squares of {SMALLEST} to {LARGEST} pixels; crop or resize them before"
        raise UserError(f"{where} are {height}×{width} pixels (shape {shape}); expected {expected}")
    return np.array(array, order="C")


def _labels(value: Any, images: int, where: str) -> np.ndarray:
    """Check and copy labels to int64 (n,)."""
    array = _numpy(value, where)
    if array.dtype.kind not in "iu":
        raise UserError(f"{where} are {array.dtype}; expected whole numbers, of a type such as int64")
    if array.shape != (images,):
        shape = "×".join(map(str, array.shape)) or "none"
        raise UserError(f"{where} have the shape {shape}; expected {images}, one class number for each image")
    if array.max() > np.iinfo(np.int64).max:
        raise UserError(f"{where} hold {array.max()}; expected class numbers from 0")
    return array.astype(np.int64)


def _check_alike(images: dict[str, np.ndarray]) -> None:
    def form(split: str) -> str:
        _, height, width, channels = images[split].shape
        return f"{height}×{width} pixels and {channels} channel{'s' * (channels > 1)}"

    for split in images:
        if images[split].shape[1:] != images["train"].shape[1:]:
            raise UserError(f"{split} images have {form(split)}; expected those of train, {form('train')}")


def _class_names(classes: Sequence[str] | None, labels: np.ndarray) -> list[str]:
    """Return the given names, or else the numbers up to the largest label in train."""
    if classes is None:
        names = [str(number) for number in range(int(labels.max()) + 1)]
    else:
        names = list(classes)
        if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) != len(names):
            raise UserError(f"classes are {names}; expected different names, texts, in the order of the labels")
    if len(names) < 2:
        raise UserError(f"there are {len(names)} classes, {names}; expected 2 or more")
    return names


def _check_classes(labels: np.ndarray, count: int, split: str) -> None:
    """Raise `UserError` for a label that is no class, or a class without images in train."""
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        first = int(wrong[0])
        raise UserError(f"{split} labels hold {labels[first]} (image {first}); expected 0 to {count - 1}")
    missing = sorted(set(range(count)) - set(labels.tolist()))
    if missing and split == "train":
        some = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise UserError(f"train has no image of {len(missing)} of the {count} classes ({some}); expected at least one")


def _shared(images: dict[str, np.ndarray]) -> list[str]:
    """List the images of later splits that are in an earlier one too, each as 'train[3] = test[7]'."""
    places: dict[str, tuple[str, int]] = {}
    found = []
    for split, array in images.items():
        for row, image in enumerate(array):
            first, there = places.setdefault(sha256(image.tobytes()), (split, row))
            if first != split:
                found.append(f"{first}[{there}] = {split}[{row}]")
    return found
