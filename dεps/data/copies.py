"""Find copies: files of equal bytes, or arrays of equal pixels. No two splits may hold copies of one image."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dεps.core.errors import UserError
from dεps.core.hashing import sha256
from dεps.data.config import DatasetConfig
from dεps.data.folder import ImageFolder, Listings

#: maps each image that has copies to a name that all of them share; an image without copies is not in it
Copies = Mapping[str, str]
#: number of bytes at the end of a file: they tell most files of equal size apart
TAIL = 4096
#: number of images that a thread is given at once
PORTION = 256


def file_copies(folder: ImageFolder, names: Sequence[str], workers: int) -> Copies:
    """Find copies among files, reading each only as far as it takes. Raises `UserError` naming an unreadable one."""
    alike = _alike([names], folder.measure)
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for part in (TAIL, None):
            alike = _alike(alike, lambda name, part=part: folder.digest(name, part), pool)
    return {name: group[0] for group in alike for name in group}


def array_copies(arrays: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Copies:
    """Find the copies among `{split: (images (n, …), labels)}`; an image is called `<split>/<row>`."""
    digests = {
        f"{split}/{row}": sha256(image.tobytes())
        for split, (images, _) in arrays.items()
        for row, image in enumerate(images)
    }
    return {name: group[0] for group in _alike([list(digests)], digests.__getitem__) for name in group}


def _alike(
    groups: Iterable[Sequence[str]], key: Callable[[str], Hashable], pool: ThreadPoolExecutor | None = None
) -> list[list[str]]:
    """Divide the groups by `key`, and keep those of two names and more."""
    found: dict[Hashable, list[str]] = defaultdict(list)
    names = [(number, name) for number, group in enumerate(groups) for name in group]
    portions = [names[start : start + PORTION] for start in range(0, len(names), PORTION)]
    keys = (pool.map if pool else map)(lambda portion: [key(name) for _, name in portion], portions)
    for (number, name), value in zip(names, itertools.chain.from_iterable(keys), strict=True):
        found[number, value].append(name)
    return [group for group in found.values() if len(group) > 1]


def shared(listings: Listings, copies: Copies) -> list[tuple[str, str]]:
    """List each image of a later split that is in an earlier one too, as (the copy there, the image)."""
    places: dict[str, tuple[str, str]] = {}
    pairs = []
    for split, items in listings.items():
        for name, _ in items:
            if name in copies:
                first, there = places.setdefault(copies[name], (split, name))
                if first != split:
                    pairs.append((there, name))
    return pairs


def check_shared(listings: Listings, copies: Copies, config: DatasetConfig, key: str = "dataset.duplicates") -> None:
    """Raise `UserError` naming two equal images in two splits, unless `config` allows them by its `key`."""
    pairs = shared(listings, copies)
    if pairs and config.duplicates == "error":
        one, other = pairs[0]
        count = f"{len(pairs):,} images are" if len(pairs) > 1 else "1 image is"
        raise UserError(
            f"{config.root or config.source}: {count} in two splits, such as '{one}' and '{other}'; "
            f"remove one of each, or set {key} to allow"
        )
