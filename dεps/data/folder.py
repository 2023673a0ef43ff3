"""Image folders, as directories or .zip files: `<split>/<class>/*.jpg|png`, or `<class>/*.jpg|png`.

Files are named relative to the root, with forward slashes, so that nothing derived from them depends on where the
images lie. A zip is read in place and never unpacked.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from dεps.data.config import SplitFolders
from dεps.errors import UserError, is_odd

EXTENSIONS = (".jpg", ".jpeg", ".png")
FORMATS = ("JPEG", "PNG")
#: what no image set for training holds, but an archive or file made to exhaust memory may
LARGEST_FILE, MOST_PIXELS, MOST_ENTRIES, LONGEST_SIDES = 256 * 2**20, 80_000_000, 10_000_000, 100
# Such images are refused, by an error of one line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
#: per split, file names and labels
Listings = dict[str, list[tuple[str, int]]]


class ImageFolder:
    """Lists and decodes the images of a directory or .zip; `crop` as in the `dataset` section.

    Raises `UserError` where `root` is missing, is no archive, or holds a path that leads outside itself.
    """

    def __init__(self, root: str | Path, crop: float = 1.0) -> None:
        self.root, self.crop = Path(root), crop
        self._archive: zipfile.ZipFile | None = None
        if self.root.is_file():
            self._zip()
        elif not self.root.is_dir():
            raise UserError(f"{self.root} does not exist; expected a folder or a .zip with <split>/<class>/ images")

    @cached_property
    def names(self) -> list[str]:
        """All images, sorted. Who reads images by name never waits for a list of a million."""
        if self.root.is_dir():
            files = (path for path in self.root.rglob("*") if path.suffix.lower() in EXTENSIONS)
            return sorted(path.relative_to(self.root).as_posix() for path in files)
        return sorted(name for name in self._zip().namelist() if name.lower().endswith(EXTENSIONS))

    def _zip(self) -> zipfile.ZipFile:
        if self._archive is None:
            try:
                self._archive = zipfile.ZipFile(self.root)
            except Exception as error:  # a damaged directory can raise anything
                raise UserError(f"{self.root} is no readable .zip ({error}); pack or fetch it again") from None
            self._check_entries(self._archive.infolist())
        return self._archive

    def _check_entries(self, entries: Sequence[zipfile.ZipInfo]) -> None:
        """What can be refused before anything is read. Raises `UserError`."""
        if len(entries) > MOST_ENTRIES:
            raise UserError(f"{self.root} has {len(entries):,} entries; expected at most {MOST_ENTRIES:,}")
        for entry in entries:
            parts = PurePosixPath(entry.filename.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
                raise UserError(f"{self.root} holds '{entry.filename}', a path outside the archive; refused")
            if entry.file_size > LARGEST_FILE and entry.filename.lower().endswith(EXTENSIONS):
                size = f"{entry.file_size // 2**20:,} MiB"
                raise UserError(f"{self.root} holds '{entry.filename}' of {size}, no image; refused")

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_archive": None}  # an open archive must not be shared with worker processes

    def splits(self, folders: SplitFolders, class_list: str | None) -> tuple[Listings, list[str]]:
        """`{split: [(file name, label), …]}` and the class names, sorted or in the order of `class_list`.

        Without folders of splits, all images are of train. Raises `UserError` for a named split that is missing and
        for classes that differ between splits.
        """
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in self.names:
            if is_odd(name):
                raise UserError(f"{self.root} holds {name!r}, a name with odd characters; rename it")
            split, _, rest = name.partition("/")
            if "/" in rest:
                found[split][rest.partition("/")[0]].append(name)
        # Images right below 'train' are of no class; they do not make 'train' one.
        plain = not found and not any(name.startswith(f"{folders.train}/") for name in self.names)
        for name in self.names if plain else ():
            folder, _, rest = name.partition("/")
            if rest:
                found[folders.train][folder].append(name)
        if folders.train not in found:
            there = ", ".join(sorted(found)[:5]) or "nothing"
            raise UserError(
                f"{self.root} has no '{folders.train}/<class>/' images (dataset.splits.train); found {there}; "
                "expected <split>/<class>/ or <class>/ folders of .jpg or .png"
            )
        classes = _read_classes(class_list) if class_list else sorted(found[folders.train])
        if len(classes) < 2:
            raise UserError(f"{self.root} has one class only, '{classes[0]}'; expected two folders or more in train")
        splits = {}
        for split, folder in (("train", folders.train), ("validation", folders.validation), ("test", folders.test)):
            if folder is None or (folder not in found and (plain or split == "validation")):
                continue
            if folder not in found:
                cure = "set it to null to hold it out of train"
                raise UserError(f"{self.root} has no folder '{folder}' (dataset.splits.{split}); {cure}")
            self._check_classes(folder, found[folder], classes, exact=not class_list)
            splits[split] = [(name, label) for label, key in enumerate(classes) for name in found[folder][key]]
        return splits, classes

    def _check_classes(self, folder: str, here: Collection[str], classes: Collection[str], exact: bool) -> None:
        """Every class must have images in every split; without a class list there must be no other."""
        rule = "every split needs the same classes"
        if missing := [name for name in classes if name not in here]:
            raise UserError(f"{self.root}: class '{missing[0]}' has no images in split '{folder}'; {rule}")
        if exact and (extra := sorted(set(here) - set(classes))):
            raise UserError(f"{self.root}: class '{extra[0]}' of split '{folder}' is not in train; {rule}")

    def fingerprint(self, names: Sequence[str]) -> str:
        """Hash of the names, sizes and times of these images: tells, without reading them, whether they changed."""
        if self.root.is_dir():
            facts = [self._facts(name) for name in names]
        else:
            infos = [self._zip().getinfo(name) for name in names]
            facts = [[info.file_size, info.CRC] for info in infos]
        return hashlib.sha256(json.dumps([list(names), facts]).encode()).hexdigest()[:16]

    def _facts(self, name: str) -> list[int]:
        try:
            state = (self.root / name).stat()
        except OSError as error:
            raise UserError(
                f"{self.root}: image '{name}' cannot be read ({error.strerror}); mend or remove it"
            ) from None
        return [state.st_size, state.st_mtime_ns]

    def read(self, name: str, size: int, channels: int) -> np.ndarray:
        """One image as uint8 (size, size, channels): shorter side resized, then centre-cropped, where needed.

        Raises `UserError` naming the file where it is missing, truncated or no image.
        """
        return to_array(self.picture(name, channels), size, channels, self.crop)

    def picture(self, name: str, channels: int) -> Image.Image:
        """One image in its own size, grey (1 channel) or RGB (3).

        Raises `UserError` naming the file where it is missing, truncated or no image.
        """
        try:
            with Image.open(io.BytesIO(self._bytes(name)), "r", FORMATS) as picture:
                _check_size(picture)
                return picture.convert(_mode(channels))
        except UserError:
            raise
        except Exception as error:  # a damaged file can raise anything
            known = isinstance(error, UnidentifiedImageError)
            reason = "no JPEG or PNG" if known else str(error) or type(error).__name__
            raise UserError(f"{self.root}: image '{name}' cannot be read ({reason}); mend or remove it") from None

    def _bytes(self, name: str) -> bytes:
        """Content of a file, as long as it is one of an image."""
        with (self.root / name).open("rb") if self.root.is_dir() else self._zip().open(name) as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise ValueError(f"larger than {LARGEST_FILE // 2**20} MiB")
        return data


def _check_size(picture: Image.Image) -> None:
    """Before pixels are decoded, or resized to a given shorter side."""
    width, height = picture.size
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDES * min(width, height):
        raise ValueError(
            f"{width}×{height} pixels; expected at most {MOST_PIXELS:,}, and sides up to 1:{LONGEST_SIDES}"
        )


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"


def shorter_side(size: int, crop: float) -> int:
    """Pixels that the shorter side is resized to, for a crop of `size` to be that share of it."""
    return math.ceil(round(size / crop, 6))


def to_array(picture: Image.Image, size: int, channels: int, crop: float = 1.0) -> np.ndarray:
    """A picture as uint8 (size, size, channels)."""
    if picture.mode != _mode(channels):
        picture = picture.convert(_mode(channels))
    shorter = shorter_side(size, crop)
    if picture.size != (shorter, shorter):
        scale = shorter / min(picture.size)
        width, height = (max(shorter, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    if picture.size != (size, size):
        width, height = picture.size
        left, top = (width - size) // 2, (height - size) // 2
        picture = picture.crop((left, top, left + size, top + size))
    return np.asarray(picture).reshape(size, size, channels)


def to_picture(pixels: np.ndarray) -> Image.Image:
    """uint8 (height, width, 1 or 3) as a picture."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _read_classes(path: str) -> list[str]:
    try:
        classes = Path(path).read_text().split()
    except (OSError, ValueError) as error:
        raise UserError(f"class list {path} (dataset.classes) cannot be read: {error}") from None
    if not classes or len(set(classes)) != len(classes):
        raise UserError(f"class list {path} (dataset.classes) is empty or names a class twice")
    return classes
