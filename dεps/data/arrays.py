"""Check images and labels that a caller holds in memory: nothing is clipped, converted or dropped silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import save
from torch import Tensor

from dεps.core.errors import UserError, check_choice
from dεps.core.hashing import sha256
from dεps.data.config import DatasetConfig
from dεps.data.copies import array_copies, check_shared, shared
from dεps.data.found import Arrays, Found
from dεps.data.manifest import described

Array: TypeAlias = np.ndarray | Tensor
#: images and labels
Pair: TypeAlias = tuple[Array, Array | Sequence[int]]
#: side of images in pixels, as `dataset.image_size` has it
SMALLEST, LARGEST = 8, 1024


def checked(
    pairs: dict[str, Pair | None], classes: Sequence[str] | None, name: str, duplicates: Any
) -> tuple[Arrays, dict[str, Any]]:
    """Check and copy all splits, images uint8 (n, size, size, channels) and labels int64 (n,), and make a manifest."""
    arrays: Arrays = {}
    for split, pair in pairs.items():
        if pair is not None:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UserError(f"{split} is a {type(pair).__name__}; expected a pair (images, labels)")
            images = pixels_of(pair[0], f"{split} images")
            arrays[split] = images, _labels(pair[1], len(images), f"{split} labels")
    train, labels = arrays["train"]
    for split, (images, _) in arrays.items():
        if images.shape[1:] != train.shape[1:]:
            raise UserError(f"{split} images have {_form(images)}; expected those of train, {_form(train)}")
    # A class beyond the number of labels has no images, so no more names are needed to refuse it.
    numbers = range(min(int(labels.max()), len(labels)) + 1)
    names = list(map(str, numbers) if classes is None else classes)
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"classes are {names}; expected texts, in the order of the labels")
    check_choice(duplicates, ("error", "allow"), "duplicates")
    config = DatasetConfig(name, "arrays", train.shape[1], train.shape[3], duplicates=duplicates)
    found, copies = Found.of_arrays(arrays, names), array_copies(arrays)
    found.check("arrays")
    check_shared(found.listings, copies, config, "duplicates")
    hashes = {split: sha256(save({"images": images, "labels": labels})) for split, (images, labels) in arrays.items()}
    given = {split: labels for split, (_, labels) in arrays.items()}
    more = {"shared_images": len(shared(found.listings, copies)), "params": {}}
    return arrays, described(config, "tensor", names, given, train, hashes, **more)


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


def pixels_of(value: Any, where: str) -> np.ndarray:
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


def _form(images: np.ndarray) -> str:
    _, height, width, channels = images.shape
    return f"{height}×{width} pixels and {channels} channel{'s' * (channels > 1)}"
