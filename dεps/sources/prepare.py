"""Turn a source into prepared splits: `<split>.safetensors` and `manifest.json`, the same bytes every time.

    source.find() ─► copies ─► held-out splits ─► decode, resize ─► files

Data that fit into `in_memory_limit_mb` are kept as pixels: `images` uint8 (n, size, size, channels) and `labels`
int64 (n,). Of larger ones, if they are files, only `labels` and, in `<split>.files.txt`, names relative to the root.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from dεps.core.errors import UserError
from dεps.core.hashing import sha256
from dεps.core.randomness import python_rng
from dεps.data.config import DatasetConfig
from dεps.data.copies import Copies, array_copies, check_shared, file_copies, shared
from dεps.data.folder import ImageFolder, Listings, to_array, to_picture
from dεps.data.found import Found
from dεps.data.manifest import SPLITS, described
from dεps.sources.registry import source_of
from dεps.workspace.resume import Checkpoints

Progress = Callable[[Iterable, str, int], Iterable]
#: (split, hash of its files) to the place where decoded images are kept for a later process, if there is one
Keeping = Callable[[str, str], Checkpoints | None]
#: number of images that are handed to the decoding threads at once
PORTION = 1024
#: number of images from which mean and standard deviation are estimated, where the data stay files
STATISTICS_SAMPLE = 10_000


def prepare(
    config: DatasetConfig,
    out: Path,
    progress: Progress = lambda items, label, total: items,
    keeping: Keeping = lambda split, source: None,
) -> dict[str, Any]:
    """Write the prepared data set into the existing folder `out` and return its manifest."""
    found = divided(config, config.download)
    listings, images = found.listings, found.images
    labels = {split: np.array([label for _, label in items], np.int64) for split, items in listings.items()}
    pixels = sum(map(len, listings.values())) * config.image_size**2 * config.channels
    if isinstance(images, ImageFolder) and pixels > config.in_memory_limit_mb * 2**20:
        form, hashes = "files", _write_names(config, images, listings, labels, out)
        chosen = python_rng(0, "statistics").sample(listings["train"], min(len(labels["train"]), STATISTICS_SAMPLE))
        train = _decode(images, chosen, config, "train (mean and standard deviation)", progress, keeping)
    else:
        if isinstance(images, ImageFolder):
            arrays = {name: _decode(images, items, config, name, progress, keeping) for name, items in listings.items()}
        else:
            given = {split: _resize(pixels, config) for split, (pixels, _) in images.items()}
            arrays = {split: _rows(given, items) for split, items in listings.items()}
        form, train, hashes = "tensor", arrays["train"], {}
        for split, pixels in arrays.items():
            data = save({"images": np.ascontiguousarray(pixels), "labels": labels[split]})
            (out / f"{split}.safetensors").write_bytes(data)
            hashes[split] = sha256(data)
    more: dict[str, Any] = {"shared_images": len(shared(listings, found.copies)), "params": config.facts()}
    more |= {"held_out": found.held_out} if found.held_out else {}
    manifest = described(config, form, found.classes, labels, train, hashes, **more)
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return manifest


@dataclass(frozen=True)
class Divided(Found):
    """A source divided into all three splits; nothing is decoded or resized yet."""

    #: the splits that the source does not have itself, and that were therefore taken from train
    held_out: list[str]
    copies: Copies


def divided(config: DatasetConfig, download: bool = False) -> Divided:
    """List the images of each split. Raises `AbsentError` where they are not there and not to be downloaded."""
    found = source_of(config).find(download)
    found.check(where := config.root or config.source)
    for key, count in (("class_count", len(found.classes)), ("train_images", len(found.listings["train"]))):
        expected = getattr(config, key)
        if expected not in (None, count):
            raise UserError(f"{where}: train holds {count}, but dataset.{key} is {expected}; complete it or set null")
    if isinstance(found.images, ImageFolder):
        names = [name for items in found.listings.values() for name, _ in items]
        copies = file_copies(found.images, names, config.workers)
    else:
        copies = array_copies(found.images)
    check_shared(found.listings, copies, config)
    listings = _hold_out(found.listings, config, found.classes, copies)
    missing = [split for split in SPLITS if split not in found.listings]
    return Divided(found.classes, listings, found.images, missing, copies)


def _rows(images: dict[str, np.ndarray], items: list[tuple[str, int]]) -> np.ndarray:
    """Pick the images of one split; all of them lie in one split of the source."""
    (origin,) = {name.partition("/")[0] for name, _ in items}
    return images[origin][[int(name.partition("/")[2]) for name, _ in items]]


def _resize(images: np.ndarray, config: DatasetConfig) -> np.ndarray:
    if images.shape[1:] == (config.image_size, config.image_size, config.channels) and config.crop == 1:
        return images
    form = config.image_size, config.channels, config.crop
    return np.stack([to_array(to_picture(image), *form) for image in images])


def _hold_out(listings: Listings, config: DatasetConfig, classes: list[str], copies: Copies) -> Listings:
    """Fill splits that the source lacks with a random share of each class in train.

    Copies stay together: all of them go where the first one goes.
    """
    listings = dict(listings)
    for split in SPLITS[1:]:
        if split in listings:
            continue
        first: dict[str, tuple[str, int]] = {}
        for item in listings["train"]:
            first.setdefault(copies.get(item[0], item[0]), item)
        by_class: dict[int, list] = {label: [] for label in range(len(classes))}
        for item in first.values():
            by_class[item[1]].append(item)
        held: set[str] = set()
        for label, items in by_class.items():
            count = round(config.holdout * len(items))
            if not 1 <= count < len(items):
                least, where = int(0.5 / config.holdout) + 1, config.root or config.source
                raise UserError(
                    f"{where}: class '{classes[label]}' has too few images in train ({len(items)}) to hold out "
                    f"'{split}'; expected {least} or more, or a larger dataset.holdout than {config.holdout}"
                )
            chosen = python_rng(config.holdout_seed, f"holdout/{split}", label).sample(items, count)
            held.update(copies.get(name, name) for name, _ in chosen)
        taken = [(item, copies.get(item[0], item[0]) in held) for item in listings["train"]]
        listings[split] = [item for item, is_held in taken if is_held]
        listings["train"] = [item for item, is_held in taken if not is_held]
    return {split: listings[split] for split in SPLITS}


def _decode(
    folder: ImageFolder,
    items: list[tuple[str, int]],
    config: DatasetConfig,
    split: str,
    progress: Progress,
    keeping: Keeping,
) -> np.ndarray:
    images = np.empty((len(items), config.image_size, config.image_size, config.channels), np.uint8)
    checkpoints = keeping(split, folder.fingerprint([name for name, _ in items]))
    done = saved = _restore(images, checkpoints) if checkpoints else 0

    def decoded(pool: ThreadPoolExecutor) -> Iterator[np.ndarray]:
        # In portions: after an error or Ctrl-C the process ends only once everything in the queue is decoded.
        for start in range(done, len(items), PORTION):
            names = [name for name, _ in items[start : start + PORTION]]
            yield from pool.map(lambda name: folder.read(name, config.image_size, config.channels), names)

    with ThreadPoolExecutor(max(1, config.workers)) as pool:
        for row, image in enumerate(progress(decoded(pool), split, len(items) - done), done):
            images[row] = image
            if checkpoints and checkpoints.due():
                piece = {"images": images[saved : row + 1]}
                checkpoints.save(row + 1, lambda path, piece=piece: path.write_bytes(save(piece)))
                saved = row + 1
    return images


def _restore(images: np.ndarray, checkpoints: Checkpoints) -> int:
    """Fill in what an interrupted process had decoded; returns the number of rows."""
    done = 0
    for end, path in sorted(checkpoints.intact()):
        piece = load_file(path)["images"]
        if end - len(piece) != done:
            break  # the one before it is missing or damaged
        images[done:end] = piece
        done = end
    return done


def _write_names(
    config: DatasetConfig, folder: ImageFolder, listings: Listings, labels: dict[str, np.ndarray], out: Path
) -> dict[str, str]:
    """Write names and labels of each split, and return its hash."""
    hashes = {}
    for split, items in listings.items():
        names, data = "".join(f"{name}\n" for name, _ in items).encode(), save({"labels": labels[split]})
        (out / f"{split}.files.txt").write_bytes(names)
        (out / f"{split}.safetensors").write_bytes(data)
        # Sizes of the files as well: other images may have the same names.
        form = json.dumps([config.image_size, config.channels, config.crop, [folder.size(name) for name, _ in items]])
        hashes[split] = sha256(names + data + form.encode())
    return hashes
