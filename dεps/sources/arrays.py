"""Data sets that come as arrays: the embedded one, and official files as torchvision knows them.

Every reader returns `{split: (images, labels)}`, images uint8 of shape (n, height, width, channels), and class names.
"""

from __future__ import annotations

import gzip
import itertools
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from dεps.core.errors import UserError
from dεps.core.hashing import sha256

#: of the official archives, generously
MOST_MEMBERS, LARGEST_MEMBER = 100, 256 * 2**20
_CURE = "delete it and it is downloaded again"
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]

FASHION_CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
FASHION_CLASSES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
MINI = Path(__file__).parent / "fashion_mnist_mini"


def read_fashion_mnist_mini(folder: Path = MINI) -> tuple[Arrays, list[str]]:
    """The embedded 7,000 + 1,000 + 2,000 images; `fashion_mnist_mini/make.py` says how they were chosen."""
    arrays = {}
    for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines():
        known, name = line.split()
        data = (folder / name).read_bytes()
        if sha256(data) != known:
            raise UserError(f"{folder / name} is damaged: its SHA-256 differs from SHA256SUMS; restore it from git")
        with Image.open(folder / name) as picture:
            rows = np.asarray(picture).reshape(-1, 28, 100, 28)
        images = np.ascontiguousarray(rows.swapaxes(1, 2).reshape(-1, 28, 28, 1))
        arrays[name.removesuffix(".png")] = (images, np.arange(len(images)) % 10)
    return arrays, FASHION_CLASSES


class OfficialFile(NamedTuple):
    """One file of a data set as its authors publish it."""

    name: str
    url: str
    md5: str


def _fashion_files() -> list[OfficialFile]:
    from torchvision.datasets import FashionMNIST

    return [OfficialFile(name, FashionMNIST.mirrors[0] + name, md5) for name, md5 in FashionMNIST.resources]


# CIFAR in the authors' binary form: the Python form, which torchvision reads, is a pickle.
_CIFAR = "https://www.cs.toronto.edu/~kriz/"


def _cifar_files(name: str) -> list[OfficialFile]:
    file, md5 = {
        "cifar10": ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
        "cifar100": ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
    }[name]
    return [OfficialFile(file, _CIFAR + file, md5)]


def read_torchvision(name: str, root: Path) -> tuple[Arrays, list[str]]:
    """`fashion_mnist`, `cifar10` or `cifar100` from official files below `root`, downloaded where absent.

    Raises `UserError` for a file whose MD5 differs, and where a download fails.
    """
    files = _fashion_files() if name == "fashion_mnist" else _cifar_files(name)
    paths = [_fetch(file, root) for file in files]
    return _parse_fashion(paths) if name == "fashion_mnist" else _parse_cifar(name, paths[0])


def _fetch(file: OfficialFile, root: Path, download: Callable[..., None] | None = None) -> Path:
    from torchvision.datasets.utils import check_integrity, download_url

    # torchvision keeps Fashion-MNIST in this subfolder; files that are there already are used.
    for path in (root / file.name, root / "FashionMNIST" / "raw" / file.name):
        if path.exists():
            if not check_integrity(path, file.md5):
                raise UserError(f"{path} is damaged: its MD5 is not {file.md5}; delete it and it is downloaded again")
            return path
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
        try:
            (download or download_url)(file.url, folder, file.name, file.md5)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"download of {file.url} failed ({reason}); put the file into {root} by hand") from None
        return (Path(folder) / file.name).rename(root / file.name)


def _parse_fashion(paths: list[Path]) -> tuple[Arrays, list[str]]:
    def idx(path: Path, header: int, *shape: int) -> np.ndarray:
        try:
            with gzip.open(path) as file:
                return np.frombuffer(_limited(file), np.uint8, offset=header).reshape(-1, *shape)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); {_CURE}") from None

    by_name = {path.name: path for path in paths}
    arrays = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = idx(by_name[f"{prefix}-images-idx3-ubyte.gz"], 16, 28, 28, 1)
        labels = idx(path := by_name[f"{prefix}-labels-idx1-ubyte.gz"], 8).astype(np.int64)
        _check_labels(path, images, labels, FASHION_CLASSES)
        arrays[split] = (images, labels)
    return arrays, FASHION_CLASSES


def _parse_cifar(name: str, path: Path) -> tuple[Arrays, list[str]]:
    """Records of 3,072 pixels (planes of 32×32) behind one label byte, or behind a coarse and a fine one."""
    labels = 1 if name == "cifar10" else 2
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    classes: list[str] = []
    try:
        with tarfile.open(path) as archive:  # nothing is ever extracted to the disk
            members = list(itertools.islice(archive, MOST_MEMBERS + 1))
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"more than {MOST_MEMBERS} files")
            for member in sorted(filter(tarfile.TarInfo.isfile, members), key=lambda entry: entry.name):
                stem = Path(member.name).name
                if stem.endswith(".bin"):
                    records = np.frombuffer(_limited(archive.extractfile(member)), np.uint8)
                    parts["test" if "test" in stem else "train"].append(records.reshape(-1, labels + 3072))
                elif stem in ("batches.meta.txt", "fine_label_names.txt"):
                    classes = _limited(archive.extractfile(member)).decode().split()
        if not all(sum(map(len, batches)) for batches in parts.values()):
            raise ValueError("no images for train or test")
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {_CURE}") from None
    arrays = {}
    for split, batches in parts.items():
        records = np.concatenate(batches)
        images = records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[split] = (np.ascontiguousarray(images), records[:, labels - 1].astype(np.int64))
        _check_labels(path, *arrays[split], classes)
    return arrays, classes


def _limited(file: IO[bytes]) -> bytes:
    """Content of a packed file, whatever size it claims or unpacks to."""
    data = file.read(LARGEST_MEMBER + 1)
    if len(data) > LARGEST_MEMBER:
        raise ValueError(f"a file in it is larger than {LARGEST_MEMBER // 2**20} MiB")
    return data


def _check_labels(path: Path, images: np.ndarray, labels: np.ndarray, classes: list[str]) -> None:
    if not len(labels) or len(images) != len(labels) or labels.max() >= len(classes):
        there = f"{len(images)} images, {len(labels)} labels, {len(classes)} classes"
        raise UserError(f"{path} cannot be used ({there}, which do not fit); {_CURE}")
