import gzip
import hashlib
import io
import shutil
import struct
import tarfile

import numpy as np
import pytest

from dεps.core.errors import UserError
from dεps.sources import arrays as sources
from dεps.sources.arrays import MINI, OfficialFile, read_fashion_mnist_mini, read_torchvision


def test_the_embedded_images_are_balanced_and_small():
    arrays, classes = read_fashion_mnist_mini()
    assert {split: len(labels) for split, (_, labels) in arrays.items()} == {
        "train": 7000,
        "validation": 1000,
        "test": 2000,
    }
    assert all((np.bincount(labels) == len(labels) // 10).all() for _, labels in arrays.values())
    assert len(classes) == 10
    assert sum(path.stat().st_size for path in MINI.iterdir() if path.is_file()) < 5_000_000


def test_a_changed_embedded_file_is_noticed(tmp_path):
    shutil.copytree(MINI, tmp_path / "mini")
    path = tmp_path / "mini/validation.png"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"validation\.png is damaged"):
        read_fashion_mnist_mini(tmp_path / "mini")


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Official files in miniature, with their MD5 in place of the real ones."""

    def install(name: str, files: dict[str, bytes]) -> None:
        known = [
            OfficialFile(file, f"https://example.invalid/{file}", hashlib.md5(data).hexdigest())
            for file, data in files.items()
        ]
        monkeypatch.setattr(sources, "_fashion_files" if name == "fashion" else "_cifar_files", lambda *_: known)
        for file, data in files.items():
            (tmp_path / file).write_bytes(data)

    return install


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def test_fashion_mnist_files(official, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 28, 28), dtype=np.uint8), np.arange(20, dtype=np.uint8) % 10
    files = {f"{p}-images-idx3-ubyte.gz": idx(images) for p in ("train", "t10k")}
    official("fashion", files | {f"{p}-labels-idx1-ubyte.gz": idx(labels) for p in ("train", "t10k")})
    arrays, classes = read_torchvision("fashion_mnist", tmp_path)
    assert np.array_equal(arrays["train"][0][..., 0], images)
    assert np.array_equal(arrays["test"][1], labels)
    assert classes[9] == "Ankle boot"


NAMES = [f"class{number}" for number in range(8)]


@pytest.mark.parametrize(("name", "label_bytes"), [("cifar10", 1), ("cifar100", 2)])
def test_cifar_files(official, tmp_path, name, label_bytes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(8, dtype=np.uint8)
    prefix = [np.zeros((8, 1), np.uint8)] * (label_bytes - 1)
    records = np.hstack([*prefix, labels[:, None], images.transpose(0, 3, 1, 2).reshape(8, -1)]).tobytes()
    buffer = io.BytesIO()
    members = {"x/train.bin": records, "x/test_batch.bin": records}
    members["x/batches.meta.txt" if name == "cifar10" else "x/fine_label_names.txt"] = "\n".join(NAMES).encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    official(name, {"archive.tar.gz": buffer.getvalue()})
    arrays, classes = read_torchvision(name, tmp_path)
    assert np.array_equal(arrays["train"][0], images)
    assert arrays["test"][1].tolist() == list(range(8))
    assert classes == NAMES


def test_a_damaged_official_file_is_named(official, tmp_path):
    official("cifar", {"archive.tar.gz": b"right"})
    (tmp_path / "archive.tar.gz").write_bytes(b"wrong")
    with pytest.raises(UserError, match=r"archive\.tar\.gz is damaged: its MD5 is not"):
        read_torchvision("cifar10", tmp_path)


def test_a_broken_download_leaves_nothing(tmp_path):
    def broken(url: str, folder: str, name: str, md5: str) -> None:
        from pathlib import Path

        (Path(folder) / name).write_bytes(b"half of it")
        raise RuntimeError("File not found or corrupted.")

    file = OfficialFile("f.gz", "https://example.invalid/f.gz", "0" * 32)
    with pytest.raises(
        UserError, match=r"download of https://example\.invalid/f\.gz failed \(File not found or corrupted"
    ):
        sources._fetch(file, tmp_path / "root", broken)
    assert list((tmp_path / "root").iterdir()) == []


def test_a_finished_download_is_put_in_place(tmp_path):
    def good(url: str, folder: str, name: str, md5: str) -> None:
        from pathlib import Path

        (Path(folder) / name).write_bytes(b"all of it")

    file = OfficialFile("f.gz", "https://example.invalid/f.gz", "0" * 32)
    assert sources._fetch(file, tmp_path, good).read_bytes() == b"all of it"
