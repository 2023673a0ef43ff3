"""No image in two splits: equal files and arrays are errors that name a pair, and stay together when held out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from dεps.data.config import DatasetConfig, SplitFolders
from dεps.data.copies import array_copies, file_copies, shared
from dεps.data.folder import ImageFolder
from dεps.data.found import Found
from dεps.sources import torchvision
from dεps.sources.prepare import divided, prepare
from tests.conftest import draw_image_folder, zipped
from tests.tools.refusals import refusal


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return draw_image_folder(tmp_path / "images", {"train": 12, "validation": 3, "test": 3}, classes=2)


def config_of(root: Path, **values: object) -> DatasetConfig:
    return DatasetConfig("drawn", "image_folder", 28, 1, str(root), **values)


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("limit", [0, 2048])
def test_equal_files_in_two_splits_are_an_error_unless_allowed(images, tmp_path, as_zip, limit):
    shutil.copy(images / "train/class0/003.png", images / "test/class1/other.png")
    root = zipped(images, tmp_path / "images.zip") if as_zip else images
    config = config_of(root, in_memory_limit_mb=limit)
    (out := tmp_path / "out").mkdir()
    message = refusal(lambda: prepare(config, out), "'train/class0/003.png' and 'test/class1/other.png'")
    assert "1 image is in two splits" in message
    assert "dataset.duplicates" in message
    assert list(out.iterdir()) == []
    config = replace(config, duplicates="allow")
    assert prepare(config, out)["shared_images"] == 1


def test_a_split_folder_that_is_a_link_to_another_is_an_error(images, tmp_path):
    shutil.rmtree(images / "test")
    (images / "test").symlink_to(images / "validation")
    message = refusal(lambda: divided(config_of(images)), "'validation/class0/000.png' and 'test/class0/000.png'")
    assert "6 images are in two splits" in message


def test_files_that_only_begin_or_end_alike_are_no_copies(tmp_path):
    (tmp_path / "c").mkdir()
    contents = {
        "a": b"x" * 9000 + b"1",
        "b": b"x" * 9000 + b"2",
        "c": b"y" + b"x" * 8999 + b"1",
        "d": b"x" * 9000 + b"1",
    }
    for name, content in (contents | {"e": b"", "f": b"", "g": b"1"}).items():
        (tmp_path / f"c/{name}.png").write_bytes(content)
    folder = ImageFolder(tmp_path)
    found = file_copies(folder, folder.names, 2)
    assert found == {"c/a.png": "c/a.png", "c/d.png": "c/a.png", "c/e.png": "c/e.png", "c/f.png": "c/e.png"}


@pytest.mark.parametrize("as_zip", [False, True])
def test_files_of_other_sizes_are_not_opened(tmp_path, monkeypatch, as_zip):
    (tmp_path / "c").mkdir()
    for number in range(5):
        (tmp_path / f"c/{number}.png").write_bytes(b"x" * number)
    folder = ImageFolder(zipped(tmp_path, tmp_path / "x.zip") if as_zip else tmp_path)
    monkeypatch.setattr(ImageFolder, "content", None)
    assert file_copies(folder, folder.names, 2) == {}


def test_copies_are_held_out_together(tmp_path):
    root = draw_image_folder(tmp_path / "images", {"train": 40}, classes=3)
    plain = divided(config_of(root, splits=SplitFolders("train", None, None), holdout=0.25)).listings
    for number in range(0, 40, 2):  # copies, some of them with another label
        shutil.copy(root / f"train/class0/{number:03d}.png", root / f"train/class0/z{number}.png")
        shutil.copy(root / f"train/class1/{number:03d}.png", root / f"train/class2/z{number}.png")
    found = divided(config_of(root, splits=SplitFolders("train", None, None), holdout=0.25))
    listings, same = found.listings, found.copies
    assert len(same) == 80
    assert shared(listings, same) == []
    assert sum(map(len, listings.values())) == 160
    for split, items in listings.items():  # as many different images as without copies, and the same ones
        assert [item for item in items if "/z" not in item[0]] == plain[split]


def test_a_class_of_copies_alone_cannot_be_held_out(tmp_path):
    root = draw_image_folder(tmp_path / "images", {"train": 10}, classes=2)
    for path in sorted((root / "train/class1").iterdir())[1:]:
        shutil.copy(root / "train/class1/000.png", path)
    message = refusal(lambda: divided(config_of(root, splits=SplitFolders("train", None, None))), "class1")
    assert "too few images in train (1)" in message


def test_arrays_are_compared_too(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28, 1), np.uint8)
    labels = np.arange(30) % 3
    arrays = {"train": (images[:24], labels[:24]), "test": (np.concatenate([images[24:], images[5:6]]), labels[:7])}
    assert array_copies(arrays) == {"train/5": "train/5", "test/6": "train/5"}
    monkeypatch.setattr(torchvision.Source, "find", lambda *_: Found.of_arrays(arrays, ["a", "b", "c"]))
    config = DatasetConfig("cifar10", "torchvision", 28, 1, "downloads", holdout=0.25)
    message = refusal(lambda: prepare(config, tmp_path), "'train/5' and 'test/6'")
    assert message.startswith("downloads: 1 image is")
    config = replace(config, duplicates="allow")
    manifest = prepare(config, tmp_path)
    assert (manifest["shared_images"], manifest["images"]) == (1, {"train": 18, "validation": 6, "test": 7})
    assert np.array_equal(load_file(tmp_path / "test.safetensors")["images"], arrays["test"][0])


def test_the_embedded_images_are_all_different(tmp_path):
    manifest = prepare(DatasetConfig("fashion_mnist_mini", "fashion_mnist_mini", 28, 1), tmp_path)
    assert manifest["shared_images"] == 0
    assert manifest["sha256"]["train"].startswith("36585ab3145ca296")  # as ever


def test_other_images_of_the_same_names_are_other_data(tmp_path):
    root = draw_image_folder(tmp_path / "images", {"train": 4, "validation": 2, "test": 2}, classes=2)
    found = []
    for _ in range(2):
        (out := tmp_path / f"out{len(found)}").mkdir()
        found.append(prepare(config_of(root, in_memory_limit_mb=0), out)["sha256"])
        Image.new("L", (28, 28)).save(root / "test/class0/000.png")
    assert found[0]["train"] == found[1]["train"]
    assert found[0]["test"] != found[1]["test"]
    assert json.loads((tmp_path / "out0/manifest.json").read_text())["params"]["holdout"] == 0.1
