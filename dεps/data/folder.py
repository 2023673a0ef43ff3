"""Read images from a folder or a .zip, in place: `<split>/<class>/` folders of images, or `<class>/` folders alone.

Files are named relative to the root, with forward slashes. Hidden files and what operating systems leave behind are
ignored. Any other file in a place for images is either read, or a harmless text, or refused: none is dropped silently.
"""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from dεps.core.errors import AbsentError, UserError, is_odd
from dεps.core.hashing import digest, sha256
from dεps.data.config import SplitFolders, read_classes

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
#: what operating systems leave in folders, in lower case; names that begin with a dot are ignored too
LEFTOVERS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "lost+found"}
LEFTOVERS |= {"@eadir", "system volume information"}
#: files that may lie beside images without being images: texts about them
TEXTS = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".log", ".md5"}
TEXTS |= {"readme", "license", "licence", "copying", "sha256sums", "md5sums"}
#: usual names of split folders: one of these may stay unused, as long as no split is missing
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
#: limits that no honest data set reaches, but a file or archive made to exhaust memory does
LARGEST_FILE, MOST_PIXELS, MOST_ENTRIES, LONGEST_SIDES = 256 * 2**20, 80_000_000, 10_000_000, 100
_READ = f"expected {', '.join(EXTENSIONS)}"
#: (file name, label) of every image, per split
Listings = dict[str, list[tuple[str, int]]]


def is_data(name: str) -> bool:
    """Whether a relative path is data: no part of it is hidden, or left behind by an operating system."""
    return not any(part.startswith(".") or part.lower() in LEFTOVERS for part in name.split("/"))


def _suffix(name: str) -> str:
    """Suffix in lower case; for a file without one, such as README, its name."""
    path = PurePosixPath(name)
    return (path.suffix or path.name).lower()


def _place(name: str, split: str) -> tuple[str, str, str]:
    """Divide a name into (split, class, file); with `split` given, names begin with the class."""
    split, _, rest = (f"{split}/{name}" if split else name).partition("/")
    group, _, file = rest.partition("/")
    return split, group, file


class Contents(NamedTuple):
    """Names of everything that is data below a root; `others` are neither texts nor images that are read."""

    images: list[str]
    folders: list[str]
    others: list[str]


class ImageFolder:
    """The images in a directory or .zip, `AbsentError` where there is none; `crop` is that of the `dataset` section."""

    def __init__(self, root: str | Path, crop: float = 1.0) -> None:
        self.root, self.crop = Path(root), crop
        self._archive: zipfile.ZipFile | None = None
        self._is_dir = self.root.is_dir()
        if self.root.is_file():
            self._zip()
        elif not self._is_dir:
            raise AbsentError(f"{self.root} does not exist; expected a folder or a .zip with <split>/<class>/ images")

    @cached_property
    def contents(self) -> Contents:
        """List everything that is data, sorted. Raises `UserError` for what has an image's name but is no file."""
        images, folders, others = [], [], []
        for name, is_folder, is_file in self._walk() if self._is_dir else self._entries():
            suffix = _suffix(name)
            if suffix in EXTENSIONS and not is_file:
                what = "a folder" if is_folder else "no regular file, but a link to nothing, a pipe or a device"
                raise UserError(f"{self.root}: '{name}' is {what}; rename or remove it")
            if is_folder:
                folders.append(name)
            elif suffix in EXTENSIONS:
                images.append(name)
            elif suffix not in TEXTS or not is_file:
                others.append(name)
        return Contents(sorted(images), sorted(folders), sorted(others))

    @property
    def names(self) -> list[str]:
        """Names of all images, sorted; not needed to read them, so opening a folder of millions takes no time."""
        return self.contents.images

    def _walk(self) -> Iterator[tuple[str, bool, bool]]:
        """Yield (name, is a folder, is a file) of everything that is data below a directory; follows links."""
        pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
        while pending:
            inside, above = pending.pop()
            path = self.root / inside
            try:
                state = path.stat()
                entries = [(entry.name, entry.is_dir(), entry.is_file()) for entry in os.scandir(path)]
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror}); mend or remove it") from None
            own = (state.st_dev, state.st_ino)
            if own in above:
                raise UserError(f"{path} is a link to a folder that it lies in; remove it")
            for entry, is_folder, is_file in entries:
                if is_data(entry):
                    name = f"{inside}/{entry}" if inside else entry
                    yield name, is_folder, is_file
                    if is_folder:
                        pending.append((name, (*above, own)))

    def _entries(self) -> Iterator[tuple[str, bool, bool]]:
        """Yield the same of a .zip, in which folders need no entries of their own."""
        files: list[str] = []
        folders: set[str] = set()
        for entry in self._zip().namelist():
            name = entry.rstrip("/")
            if name and is_data(name):
                folders.update(map(str, PurePosixPath(name).parents[:-1]))
                (folders.add if entry.endswith("/") else files.append)(name)
        if twice := [name for name, count in Counter(files).items() if count > 1]:
            raise UserError(f"{self.root} holds '{twice[0]}' twice; pack it again")
        yield from ((name, True, False) for name in folders)
        yield from ((name, False, True) for name in files)

    def _zip(self) -> zipfile.ZipFile:
        if self._archive is None:
            try:
                self._archive = zipfile.ZipFile(self.root)
            except Exception as error:  # a damaged directory can raise anything
                raise UserError(f"{self.root} is no readable .zip ({error}); pack or fetch it again") from None
            entries = self._archive.infolist()
            if len(entries) > MOST_ENTRIES:
                raise UserError(f"{self.root} has {len(entries):,} entries; expected at most {MOST_ENTRIES:,}")
            for entry in entries:
                parts = PurePosixPath(entry.filename.replace("\\", "/"))
                if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
                    raise UserError(f"{self.root} holds '{entry.filename}', a path outside the archive; refused")
                if entry.file_size > LARGEST_FILE and entry.filename.lower().endswith(EXTENSIONS):
                    size = f"{entry.file_size // 2**20:,} MiB"
                    raise UserError(f"{self.root} holds '{entry.filename}' of {size}, no image; refused")
                entry.filename = entry.filename.removeprefix("./")  # with which some packers begin, not hidden
            self._archive.NameToInfo = {entry.filename: entry for entry in entries}
        return self._archive

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_archive": None}  # worker processes must not share an open archive

    def splits(self, folders: SplitFolders, class_list: str | None) -> tuple[Listings, list[str]]:
        """List the images of each split, and the class names, sorted or in the order of `class_list`.

        Without folders of splits, all images are in train. Raises `UserError` for a split or class without images, and
        for anything that would otherwise be left out silently.
        """
        images, inner, _ = self.contents
        if odd := [name for name in (*images, *inner) if is_odd(name)]:
            raise UserError(f"{self.root} holds {odd[0]!r}, a name with odd characters; rename it")
        # Class folders alone: no image lies deeper than one folder, and none directly in 'train', or it'd be a class.
        plain = all(name.count("/") < 2 and not name.startswith(f"{folders.train}/") for name in images)
        start = folders.train if plain else ""
        named = {split: folder for split, folder in vars(folders).items() if folder is not None}
        found: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for split, group, _ in (_place(name, start) for name in inner):
            if group:
                found[split].setdefault(group, [])
        loose = []
        for name in images:
            split, group, file = _place(name, start)
            if file:
                found[split][group].append(name)
            elif not group or split in named.values():
                loose.append(name)
        if folders.train not in found or not images:
            self._refuse_others(lambda *place: True)
            there = ", ".join(sorted(name for name in found if any(found[name].values()))[:5]) or "nothing"
            raise UserError(
                f"{self.root} has no '{folders.train}/<class>/' images (dataset.splits.train); found {there}; "
                f"expected <split>/<class>/ or <class>/ folders of images ({', '.join(EXTENSIONS)})"
            )
        if loose:
            raise UserError(f"{self.root}: image '{loose[0]}' is in no class folder; move it into one, or out")
        if not plain:
            self._check_unused(found, named)
        classes = read_classes(class_list) if class_list else sorted(found[folders.train])
        if len(classes) < 2:
            raise UserError(f"{self.root} has one class only, '{classes[0]}'; expected two folders or more in train")
        splits = {}
        for split, folder in named.items():
            if folder in found:
                items = [(name, label) for label, key in enumerate(classes) for name in found[folder].get(key, ())]
                splits[split] = items
            elif not plain and (split != "validation" or folder in inner):
                cure = "set it to null to hold it out of train"
                raise UserError(f"{self.root} has no folder '{folder}' (dataset.splits.{split}) of images; {cure}")
        used = [named[split] for split in splits]
        self._refuse_others(
            lambda split, group, file: split in used and (group in classes if file else group and not plain), start
        )
        rule = "every split needs the same classes"
        for folder in used:
            if missing := [name for name in classes if not found[folder].get(name)]:
                listed = f", though {class_list} (dataset.classes) names it" if class_list else ""
                raise UserError(f"{self.root}: class '{missing[0]}' has no images in split '{folder}'{listed}; {rule}")
            if not class_list and (extra := sorted(set(found[folder]) - set(classes))):
                raise UserError(f"{self.root}: class '{extra[0]}' of split '{folder}' is not in train; {rule}")
        return splits, classes

    def _refuse_others(self, belongs: Callable[[str, str, str], object], split: str = "") -> None:
        """Raise `UserError` naming a file that is no image, if by its `_place` it lies where images belong."""
        for name in self.contents.others:
            if belongs(*_place(name, split)):
                raise UserError(f"{self.root}: '{name}' is no image that can be read ({_READ}); convert or remove it")

    def _check_unused(self, found: dict[str, dict[str, list[str]]], named: dict[str, str]) -> None:
        """Raise `UserError` for a folder of images that no split uses, unless that is plainly meant."""
        unused = sorted({name.partition("/")[0] for name in self.names} - set(named.values()))
        missing = [(split, folder) for split, folder in named.items() if folder not in found]
        for name in unused:
            if missing:
                split, folder = missing[0]
                raise UserError(
                    f"{self.root} has no folder '{folder}' (dataset.splits.{split}), but '{name}', which no split "
                    f"names; set dataset.splits.{split} to '{name}', or to null to hold it out of train"
                )
            if name.lower() not in SPLIT_NAMES or name.lower() in map(str.lower, named.values()):
                raise UserError(
                    f"{self.root} holds images in '{name}' beside {', '.join(named.values())}; move them into a class "
                    "folder of a split, or out"
                )

    def fingerprint(self, names: Sequence[str]) -> str:
        """Hash the names, sizes and times of these images, which tells without reading them whether they changed."""
        return digest([list(names), [self._facts(name) for name in names]])

    def _facts(self, name: str) -> list[int]:
        """Return a file's size, and its time or, in a .zip, its checksum. Raises `UserError` where it is gone."""
        if not self._is_dir:
            entry = self._zip().getinfo(name)
            return [entry.file_size, entry.CRC]
        try:
            state = os.stat(os.path.join(self.root, name))
        except OSError as error:
            raise self._unreadable(name, str(error.strerror)) from None
        return [state.st_size, state.st_mtime_ns]

    def _unreadable(self, name: str, reason: str) -> UserError:
        return UserError(f"{self.root}: image '{name}' cannot be read ({reason}); mend or remove it")

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        return self._facts(name)[0]

    def measure(self, name: str) -> tuple[int, ...]:
        """Return what is known of a file's content for free: its size, and in a .zip its checksum."""
        return tuple(self._facts(name)[: 1 if self._is_dir else 2])

    def digest(self, name: str, tail: int | None = None) -> str:
        """SHA-256 of a file's content, or of its last `tail` bytes. Raises `UserError` naming the file."""
        try:
            return sha256(self.content(name, tail))
        except Exception as error:  # a damaged zip can raise anything
            raise self._unreadable(name, str(error) or type(error).__name__) from None

    def read(self, name: str, size: int, channels: int) -> np.ndarray:
        """Decode one image to uint8 (size, size, channels) by `to_array`. Raises `UserError` as `picture` does."""
        return to_array(self.picture(name, channels), size, channels, self.crop)

    def picture(self, name: str, channels: int) -> Image.Image:
        """Decode one image in its own size, grey (1) or RGB (3). Raises `UserError` naming a file that is no image."""
        try:
            # Folders of images have no .ppm, but data sets that a source knows by name do.
            formats = ("PPM",) if name.endswith(".ppm") else FORMATS
            with Image.open(io.BytesIO(self.content(name)), "r", formats) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDES * min(width, height):
                    expected = f"at most {MOST_PIXELS:,}, and sides up to 1:{LONGEST_SIDES}"
                    raise ValueError(f"{width}×{height} pixels; expected {expected}")
                return _as_seen(picture, _mode(channels))
        except UserError:
            raise
        except Exception as error:  # a damaged file can raise anything
            known = isinstance(error, UnidentifiedImageError)
            reason = "no JPEG, PNG, WebP, BMP, TIFF or GIF" if known else str(error) or type(error).__name__
            raise self._unreadable(name, reason) from None

    def content(self, name: str, tail: int | None = None) -> bytes:
        """Read a file, or its last `tail` bytes. Raises `ValueError`, `OSError`, or what zipfile raises."""
        if self._is_dir:
            path = os.path.join(self.root, name)
            state = os.stat(path)
            if not stat.S_ISREG(state.st_mode):  # opening a pipe would wait for its other end
                raise ValueError("no regular file")
            size, file = state.st_size, open(path, "rb", buffering=0)  # noqa: SIM115
            if tail:
                file.seek(max(0, size - tail))
        else:
            size, file = self._zip().getinfo(name).file_size, self._zip().open(name)
        with file:
            if size <= LARGEST_FILE:
                return file.read()
        raise ValueError(f"larger than {LARGEST_FILE // 2**20} MiB")


#: by EXIF orientation: how pixels are turned to stand upright
_T = Image.Transpose
_FIRST = (_T.FLIP_LEFT_RIGHT, _T.ROTATE_180, _T.FLIP_TOP_BOTTOM, _T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE)
_TURNS = dict(enumerate((*_FIRST, _T.ROTATE_90), 2))
_ORIENTATION, _BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 258, 262, 0


def _as_seen(picture: Image.Image, mode: str) -> Image.Image:
    """Return the first picture of an opened file the way a viewer shows it, in mode L or RGB.

    It is turned upright by its EXIF orientation, transparent parts are put on white, and of more than 8 bits the
    highest 8 are kept, as Pillow does for colour. Raises `ValueError` for numbers whose range no file states.
    """
    tags = getattr(picture, "tag_v2", {})
    picture.load()  # turns a TIFF itself
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data turn nothing
        turn = None
    if picture.mode.startswith("I;16"):
        bits = tags.get(_BITS, (16,))[0]
        values = (np.asarray(picture).astype(np.uint16) >> (bits - 8)).astype(np.uint8)
        picture = Image.fromarray(values ^ 255 if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values)
    elif picture.mode in ("I", "F"):
        raise ValueError("floats, or signed or 32-bit numbers, without a known range; convert it to 8 or 16 bits")
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert(mode)
    return picture if turn is None else picture.transpose(turn)


def _mode(channels: int) -> str:
    return "L" if channels == 1 else "RGB"


def shorter_side(size: int, crop: float) -> int:
    """Return what the shorter side is resized to, in pixels, so that `size` is the share `crop` of it (rounded up)."""
    return math.ceil(round(size / crop, 6))


def to_array(picture: Image.Image, size: int, channels: int, crop: float = 1.0) -> np.ndarray:
    """Resize a picture's shorter side (bicubic) and cut out its centre: uint8 (size, size, channels)."""
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
    """Turn uint8 (height, width, 1 or 3) into a picture."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
