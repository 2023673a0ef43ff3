"""Torchvision's classification data sets by name, such as `name: cifar10` or `name: oxford_iiit_pet`.

Torchvision's own class downloads and reads each; this file knows only what the classes do not have in common. Images
that are files are decoded as those of an image folder are; the others arrive as arrays. CIFAR's files are pickles,
which torchvision opens only after their MD5 has matched the published one.
"""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dεps.core.errors import AbsentError, UserError, is_odd
from dεps.core.schema import checked
from dεps.data.folder import ImageFolder
from dεps.data.manifest import SPLITS
from dεps.sources.base import DataSource, Found

#: what a data set may have been fetched as: such files in `root` are not downloaded again
ARCHIVES = (".gz", ".tgz", ".zip", ".tar", ".bz2", ".xz", ".mat")
ALIKE = {"train": True, "test": False}


def _same(*names: str) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


TRAIN_VAL_TEST, TRAIN_TEST, TRAIN_VAL = _same("train", "val", "test"), _same("train", "test"), _same("train", "val")


@dataclass(frozen=True)
class Kind:
    """What sets one of torchvision's classes apart from the others."""

    #: its names of splits, and what `argument`, a keyword, is for each; empty where all images are one set
    splits: Mapping[str, Any]
    argument: str = "split"
    #: which of `splits` each is unless params say otherwise; None: held out of train
    train: str = "train"
    validation: str | None = None
    test: str | None = "test"
    #: for `options.version`: a keyword, and its value for each name; the first name is the default
    versions: tuple[str, Mapping[str, Any]] | None = None
    #: (path, label) of every image of an instance, for classes that take no `loader`
    files: Callable[[Any], Iterable[tuple[Any, Any]]] | None = None
    #: the lowest label
    first: int = 0
    #: whether torchvision can fetch it
    downloads: bool = True

    def split(self, split: str, asked: str | None) -> str | None:
        """Return the class's name for a split of ours, when params ask for `asked`; None: held out."""
        return getattr(self, split) if asked == split else asked


def _opened(dataset: Any) -> Iterable[tuple[Any, Any]]:
    for row in range(len(dataset)):
        image, label = dataset[row]  # Pillow has read no pixels yet
        with image:
            yield image.filename, label


def _pets(dataset: Any) -> Iterable[tuple[Any, Any]]:
    of_species = dataset._target_types == ["binary-category"]
    return zip(dataset._images, dataset._bin_labels if of_species else dataset._labels, strict=True)


_MNIST = Kind(ALIKE, "train")
_WHOLE = Kind({}, test=None)
_EMNIST = _same("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
_YEARS = _same("2021_train", "2021_train_mini", "2021_valid", "2019", "2018", "2017")
KINDS: dict[str, Kind] = {
    "CIFAR10": _MNIST,
    "CIFAR100": _MNIST,
    "CLEVRClassification": Kind(TRAIN_VAL, test="val", first=3),
    "Caltech101": Kind({}, test=None, files=_opened),
    "Caltech256": Kind({}, test=None, files=_opened),
    "Country211": Kind(_same("train", "valid", "test"), validation="valid"),
    "DTD": Kind(TRAIN_VAL_TEST, validation="val", versions=("partition", {str(n): n for n in range(1, 11)})),
    "EMNIST": Kind(ALIKE, "train", versions=("split", _EMNIST)),
    "EuroSAT": _WHOLE,
    "FER2013": Kind(TRAIN_TEST, downloads=False),
    "FGVCAircraft": Kind(
        _same("train", "val", "test", "trainval"),
        validation="val",
        versions=("annotation_level", _same("variant", "family", "manufacturer")),
    ),
    "FashionMNIST": _MNIST,
    "Flowers102": Kind(TRAIN_VAL_TEST, validation="val"),
    "Food101": Kind(TRAIN_TEST),
    "GTSRB": Kind(TRAIN_TEST, files=lambda dataset: dataset._samples),
    "INaturalist": Kind(_YEARS, "version", train="2021_train", test="2021_valid"),
    "Imagenette": Kind(TRAIN_VAL, test="val", versions=("size", _same("full", "320px", "160px"))),
    "KMNIST": _MNIST,
    "MNIST": _MNIST,
    "OxfordIIITPet": Kind(
        _same("trainval", "test"),
        train="trainval",
        versions=("target_types", {"breed": "category", "species": "binary-category"}),
        files=_pets,
    ),
    "PCAM": Kind(TRAIN_VAL_TEST, validation="val"),
    "Places365": Kind(
        _same("train-standard", "train-challenge", "val"),
        train="train-standard",
        test="val",
        versions=("small", {"256px": True, "full": False}),
    ),
    "QMNIST": _MNIST,
    "RenderedSST2": Kind(TRAIN_VAL_TEST, validation="val"),
    "SEMEION": _WHOLE,
    "STL10": Kind(TRAIN_TEST),
    "SUN397": _WHOLE,
    "SVHN": Kind(_same("train", "extra", "test")),
    "StanfordCars": Kind(TRAIN_TEST, downloads=False),
    "USPS": _MNIST,
}


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


BY_NAME = {_plain(name): name for name in KINDS}


@checked
class Options:
    """Keys of `dataset.options`."""

    #: which form of a data set that has several, such as EMNIST's letters; null: the first that the error lists
    version: str | None = None


class Source(DataSource):
    """One of torchvision's data sets, named by `dataset.name`: capitals, - and _ do not matter."""

    Options = Options
    unused = ("classes",)

    def check(self, where: str) -> None:
        """Check name, splits and version, without importing torchvision."""
        if (name := BY_NAME.get(_plain(self.config.name))) is None:
            hint = "; images in folders: source image_folder" if "image" in _plain(self.config.name) else ""
            usable = f"of torchvision's data sets those with one class an image can be used: {', '.join(KINDS)}"
            raise UserError(f"{where}.name is {self.config.name!r}; {usable}{hint}")
        self.name, self.kind = name, KINDS[name]
        self._called = f"dataset.name {self.config.name}: torchvision's {name}"
        self._first = 1 if self.options.version == "letters" else self.kind.first
        for split, asked in vars(self.config.splits).items():
            known = self.kind.split(split, asked)
            if known is not None and asked != split and known not in self.kind.splits:
                allowed = ", ".join(self.kind.splits) or split
                raise UserError(f"{where}.splits.{split} is {asked!r}; {name} has: {allowed}; null: held out of train")
        taken = list(map(self._known, self.own_splits()))
        if twice := [known for known in taken if taken.count(known) > 1]:
            raise UserError(f"{where}.splits take '{twice[0]}' of {name} twice; expected different splits")
        versions = self.kind.versions[1] if self.kind.versions else {}
        if (version := self.options.version) is not None and version not in versions:
            allowed = f"allowed: {', '.join(versions)}" if versions else f"{name} has none, set null"
            raise UserError(f"{where}.options.version is {version!r}; {allowed}")

    def _known(self, split: str) -> str | None:
        return self.kind.split(split, getattr(self.config.splits, split))

    def own_splits(self) -> tuple[str, ...]:
        """Known from the table and from what params ask for."""
        return tuple(split for split in SPLITS if self._known(split) is not None)

    def find(self, download: bool) -> Found:
        """Read everything through torchvision's class; what is not in `root` is downloaded first, where that may be."""
        datasets = {split: self._open(split, download) for split in self.own_splits()}
        files = {split: self._files(dataset) for split, dataset in datasets.items()}
        listings = {split: items for split, items in files.items() if items is not None}
        if len(listings) == len(files):
            highest = max((label for items in listings.values() for _, label in items), default=0)
            folder = ImageFolder(self.config.location(), self.config.crop)
            return Found(self._classes(datasets, highest), listings, folder)
        arrays = {split: self._array(dataset) for split, dataset in datasets.items()}
        return Found.of_arrays(arrays, self._classes(datasets, max(int(values.max()) for _, values in arrays.values())))

    def _make(self, folder: Path, split: str, download: bool) -> Any:
        from torchvision import datasets

        kind, cls = self.kind, getattr(datasets, self.name)
        arguments: dict[str, Any] = {"root": str(folder.absolute())}
        if kind.splits:
            arguments[kind.argument] = kind.splits[self._known(split) or split]
        if kind.versions:
            key, values = kind.versions
            arguments[key] = values[self.options.version or next(iter(values))]
        if kind.downloads:
            arguments["download"] = download
        if _takes_loader(cls):
            arguments["loader"] = os.fspath  # an image is then its path
        return cls(**arguments)

    def _open(self, split: str, download: bool) -> Any:
        root, reason = self.config.location(), "no such folder"
        if root.is_dir():
            try:
                return self._make(root, split, download=False)
            except Exception as error:
                if not _is_absent(error):
                    raise self._refusal(error) from None
                reason = _first_line(error)
        where = f"{self._called} is not in {root} ({reason})"
        by_hand = f"put its files there, as torchvision.datasets.{self.name} expects them"
        if not self.kind.downloads:
            raise AbsentError(f"{where} and cannot be downloaded by it; {by_hand}")
        if not download:
            raise AbsentError(f"{where}; set dataset.download to true, or {by_hand}")
        try:
            self._download(split, root)
        except Exception as error:
            failed = UserError(f"{where}, and the download failed ({_first_line(error)}); {by_hand}")
            raise self._refusal(error, failed) from None
        with self._reading():
            return self._make(root, split, download=False)

    def _download(self, split: str, root: Path) -> None:
        """Download into a folder beside, then move it into `root`: half an archive never looks like a data set."""
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as name:
            folder = Path(name)
            for pattern in ("*", "*/*", "*/raw/*"):
                for path in root.glob(pattern):
                    inside = path.relative_to(root)
                    if path.name.endswith(ARCHIVES) and path.is_file() and not inside.parts[0].startswith("."):
                        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                        (folder / inside).symlink_to(path.absolute())
            self._make(folder, split, download=True)
            _move(folder, root)

    def _refusal(self, error: Exception, other: UserError | None = None) -> Exception:
        """Turn what torchvision raises into an error that names the cure, of a missing package or else `other`."""
        if isinstance(error, UserError | MemoryError):
            return error
        if package := _missing_package(error):
            needs = f"needs the package {package}, which is not installed"
            return UserError(f"{self._called} {needs}; pip install {package}")
        reason = f"{type(error).__name__}: {_first_line(error)}"
        cure = "remove its files, and they are downloaded again"
        return other or UserError(f"{self._called} in {self.config.location()} cannot be read ({reason}); {cure}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raise `UserError` for whatever torchvision raises, which for damaged files can be anything."""
        try:
            yield
        except Exception as error:
            raise self._refusal(error) from None

    def _files(self, dataset: Any) -> list[tuple[str, int]] | None:
        """List name and label of every image that is a file, sorted; None where the images are arrays.

        Some classes list files in the order in which the disk happens to hold them.
        """
        with self._reading():
            if self.kind.files:
                found = list(self.kind.files(dataset))
            elif _takes_loader(type(dataset)):
                found = [dataset[row] for row in range(len(dataset))]
            else:
                return None
        root = self.config.location().absolute()
        listed = [(self._inside(os.fspath(path), root), self._label(label)) for path, label in found]
        return sorted(listed, key=lambda item: item[::-1])

    def _inside(self, path: str, root: Path) -> str:
        name = os.path.relpath(path, root).replace(os.sep, "/")
        if name.startswith("../") or is_odd(name):
            raise UserError(f"{self._called} has an image {path!r}, which is no usable name; rename it")
        return name

    def _array(self, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
        """Read a split: images uint8 (n, height, width, 1 or 3) and labels int64 (n,)."""
        count = len(dataset)
        with self._reading():
            images, labels = np.empty((count, *_pixels(dataset[0][0]).shape), np.uint8), np.empty(count, np.int64)
            for row in range(count):
                image, label = dataset[row]
                pixels = _pixels(image)
                if pixels.shape != images.shape[1:]:
                    raise ValueError(f"image {row} has the shape {pixels.shape}, image 0 {images.shape[1:]}")
                images[row], labels[row] = pixels, self._label(label)
        return images, labels

    def _label(self, label: Any) -> int:
        """Return a class's number, counted from 0. Raises `UserError` for labels that are anything else."""
        if isinstance(label, bool) or not isinstance(label, int | np.integer):
            raise UserError(f"{self._called} labels an image {label!r}; expected the number of one class")
        return int(label) - self._first

    def _classes(self, datasets: Mapping[str, Any], highest: int) -> list[str]:
        """Return the names in the order of the labels, or the numbers where torchvision has no names."""
        found = {split: self._names(dataset) for split, dataset in datasets.items()}
        for split, names in found.items():
            if names != found["train"]:  # some classes number what they find in each split's own folder
                other = sorted(set(names or ()) ^ set(found["train"] or ())) or ["the order"]
                differ = f"has other classes in split '{split}' than in train (such as {other[0]})"
                raise UserError(f"{self._called} {differ}; expected a whole data set in {self.config.location()}")
        return found["train"] or [str(label + self._first) for label in range(highest + 1)]

    def _names(self, dataset: Any) -> list[str] | None:
        usual = ("classes", "categories", "all_categories")
        for attribute in ("bin_classes",) if self.options.version == "species" else usual:
            if names := getattr(dataset, attribute, None):
                names = [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]
                return names[self._first :]
        return None

    @staticmethod
    def example(folder: Path) -> dict[str, Any]:
        """EuroSAT in small: noise in two classes, which torchvision does not divide into splits."""
        rng = np.random.default_rng(0)
        for label in ("Forest", "River"):
            (folder / "eurosat/2750" / label).mkdir(parents=True)
            for number in range(8):
                pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
                Image.fromarray(pixels).save(folder / "eurosat/2750" / label / f"{label}_{number}.jpg")
        return {"name": "eurosat", "root": str(folder), "image_size": 32, "channels": 3, "holdout": 0.25}


def _takes_loader(cls: type) -> bool:
    return "loader" in inspect.signature(cls).parameters


def _missing_package(error: Exception) -> str | None:
    """Name the package that torchvision asks for: some of its classes import it, others say so in words."""
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").partition(".")[0]
    named = re.search(r"pip install '?([\w-]+)|have (\w+) installed", str(error))
    return named and (named[1] or named[2])


def _is_absent(error: Exception) -> bool:
    """Whether torchvision says that a data set, or part of it, is not there, or not what was published."""
    says = isinstance(error, RuntimeError) and re.search("not found|not present|not exist|corrupted", str(error))
    return isinstance(error, FileNotFoundError) or (bool(says) and not _missing_package(error))


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].partition(" You can ")[0].rstrip(".")


def _move(source: Path, target: Path) -> None:
    """Move everything in `source` into `target`, except links to what is there already."""
    for entry in source.iterdir():
        there = target / entry.name
        if entry.is_dir() and there.is_dir() and not entry.is_symlink():
            _move(entry, there)
        elif not entry.is_symlink():
            entry.replace(there)


def _pixels(image: Image.Image) -> np.ndarray:
    """Turn a grey or RGB picture into uint8 (height, width, 1 or 3)."""
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"an image in mode {image.mode}; expected L or RGB")
    pixels = np.asarray(image)
    return pixels[..., None] if image.mode == "L" else pixels
