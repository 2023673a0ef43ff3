import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from dεps.core.errors import UserError
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.data.folder import ImageFolder, shorter_side
from dεps.data.splits import PreparedData
from dεps.sources.prepare import prepare
from dεps.workspace.resume import Checkpoints
from dεps.workspace.stage import Context
from pipelines.prepare import work
from tests.conftest import draw_image_folder, zipped


def folder_config(root: Path, **values) -> DatasetConfig:
    return DatasetConfig(
        name="drawn", source="image_folder", **{"image_size": 28, "channels": 1, **values}, root=str(root)
    )


def test_the_embedded_images(tmp_path):
    config = DatasetConfig(name="fashion_mnist_mini", source="fashion_mnist_mini", image_size=28, channels=1)
    manifest = prepare(config, tmp_path)
    assert manifest["images"] == {"train": 7000, "validation": 1000, "test": 2000}
    assert manifest["per_class"]["train"] == [700] * 10
    images = load_file(tmp_path / "train.safetensors")["images"]
    assert images.shape == (7000, 28, 28, 1)
    assert manifest["mean"][0] == pytest.approx(images.mean() / 255, abs=1e-6)
    assert manifest["std"][0] == pytest.approx(images.std() / 255, abs=1e-6)


def test_preparing_twice_gives_the_same_bytes(drawn, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        prepare(folder_config(drawn), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["manifest.json", "test.safetensors", "train.safetensors", "validation.safetensors"]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_zip_is_the_same_as_its_folder(drawn, tmp_path):
    for name, root in (("a", drawn), ("b", zipped(drawn, tmp_path / "drawn.zip"))):
        (tmp_path / name).mkdir()
        prepare(folder_config(root), tmp_path / name)
    assert (tmp_path / "a/manifest.json").read_text() == (tmp_path / "b/manifest.json").read_text()


@pytest.mark.parametrize("limit", [0, 2048])
def test_a_source_that_holds_less_than_it_should_is_refused(drawn, tmp_path, limit):
    full = {"train_images": 192, "class_count": 4, "in_memory_limit_mb": limit}
    prepare(folder_config(drawn, **full, splits=SplitFolders("train", None, "test")), tmp_path)
    with pytest.raises(
        UserError, match=r"train holds 192, but dataset\.train_images is 50000; complete it or set null"
    ):
        prepare(folder_config(drawn, **full | {"train_images": 50_000}), tmp_path)
    with pytest.raises(UserError, match=r"train holds 4, but dataset\.class_count is 100"):
        prepare(folder_config(drawn, **full | {"class_count": 100}), tmp_path)
    mini = DatasetConfig("fashion_mnist_mini", "fashion_mnist_mini", 28, 1, train_images=60_000)
    with pytest.raises(UserError, match=r"fashion_mnist_mini: train holds 7000, but dataset\.train_images is 60000"):
        prepare(mini, tmp_path)


def test_missing_splits_are_held_out_class_by_class(drawn, tmp_path):
    config = folder_config(drawn, holdout=0.25, splits=SplitFolders("train", None, None))
    manifest = prepare(config, tmp_path)
    assert manifest["per_class"] == {"train": [27] * 4, "validation": [12] * 4, "test": [9] * 4}
    splits = [load_file(tmp_path / f"{name}.safetensors")["images"] for name in ("train", "validation", "test")]
    distinct = {hashlib.sha256(image.tobytes()).digest() for split in splits for image in split}
    assert len(distinct) == 192  # no image in two splits


def test_a_large_set_stays_files_and_reads_the_same(drawn, tmp_path):
    for name, limit in (("tensor", 2048), ("files", 0)):
        (tmp_path / name).mkdir()
        prepare(folder_config(drawn, in_memory_limit_mb=limit), tmp_path / name)
    tensor, files = (PreparedData(tmp_path / name, folder_config(drawn)) for name in ("tensor", "files"))
    assert json.loads((tmp_path / "files/manifest.json").read_text())["form"] == "files"
    assert str(drawn) not in (tmp_path / "files/train.files.txt").read_text()
    indices = tensor.train.labels.new_tensor([0, 5, 100, 191])
    assert (tensor.train.read(indices) == files.train.read(indices)).all()
    assert (tensor.train.labels == files.train.labels).all()
    assert tensor.manifest["mean"] == files.manifest["mean"]


@pytest.mark.parametrize("limit", [2048, 0])
def test_a_crop_is_of_a_larger_picture(drawn, tmp_path, limit):
    config = folder_config(drawn, image_size=21, crop=0.75, in_memory_limit_mb=limit)  # 21 is 0.75 of 28
    manifest = prepare(config, tmp_path)
    assert manifest["crop"] == 0.75
    read = PreparedData(tmp_path, config).test.read(torch.arange(48))
    whole = ImageFolder(drawn)
    for name, pixels in zip((name for name in whole.names if name.startswith("test/")), read, strict=True):
        border = (28 - 21) // 2
        assert np.array_equal(pixels, whole.read(name, 28, 1)[border : border + 21, border : border + 21])


def test_other_crops_are_other_data(drawn, tmp_path):
    found = []
    for name, crop in (("a", 1.0), ("b", 0.875)):
        (tmp_path / name).mkdir()
        manifest = prepare(folder_config(drawn, crop=crop, in_memory_limit_mb=0), tmp_path / name)
        found.append(manifest["sha256"]["train"])
    assert found[0] != found[1]


@pytest.mark.parametrize(("size", "crop", "side"), [(224, 0.875, 256), (160, 0.875, 183), (28, 1.0, 28), (32, 0.9, 36)])
def test_the_shorter_side_is_rounded_up(size, crop, side):
    assert shorter_side(size, crop) == side


def test_a_class_list_chooses_and_orders(drawn, tmp_path):
    (tmp_path / "classes.txt").write_text("class3\nclass1\n")
    manifest = prepare(folder_config(drawn, classes=str(tmp_path / "classes.txt")), tmp_path)
    assert manifest["classes"] == ["class3", "class1"]
    assert manifest["images"] == {"train": 96, "validation": 24, "test": 24}


def test_other_sizes_and_colours_are_converted(drawn, tmp_path):
    manifest = prepare(folder_config(drawn, image_size=16, channels=3), tmp_path)
    images = load_file(tmp_path / "test.safetensors")["images"]
    assert images.shape == (48, 16, 16, 3)
    assert len(manifest["mean"]) == 3
    assert np.array_equal(images[..., 0], images[..., 2])


@pytest.fixture
def damaged(tmp_path):
    """A small image folder to spoil."""
    return draw_image_folder(tmp_path / "images", {"train": 6, "validation": 2, "test": 2})


def spoil_truncate(root):
    path = root / "train/class1/003.png"
    path.write_bytes(path.read_bytes()[:200])


def spoil_text(root):
    (root / "train/class2/000.png").write_text("this is no image")


def spoil_empty(root):
    (root / "validation/class0/001.png").write_bytes(b"")


def spoil_class(root):
    for file in (root / "test/class3").iterdir():
        file.unlink()


def spoil_extra(root):
    (root / "test/other").mkdir()
    Image.new("L", (28, 28)).save(root / "test/other/0.png")


def spoil_split(root):
    (root / "test").rename(root / "elsewhere")


def spoil_train(root):
    (root / "train").rename(root / "elsewhere")


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_truncate, r"image 'train/class1/003\.png' cannot be read"),
        (spoil_text, r"image 'train/class2/000\.png' cannot be read \(no JPEG, PNG, WebP, BMP, TIFF or GIF\)"),
        (spoil_empty, r"image 'validation/class0/001\.png' cannot be read"),
        (spoil_class, r"class 'class3' has no images in split 'test'"),
        (spoil_extra, r"class 'other' of split 'test' is not in train"),
        (spoil_split, r"no folder 'test' \(dataset\.splits\.test\)"),
        (spoil_train, r"no 'train/<class>/' images .*found elsewhere, test, validation"),
    ],
)
def test_spoiled_images_are_named(damaged, tmp_path, spoil, message, as_zip):
    spoil(damaged)
    root = zipped(damaged, tmp_path / "images.zip") if as_zip else damaged
    with pytest.raises(UserError, match=message):
        prepare(folder_config(root), tmp_path)


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "train/../../evil.png", "C:/evil.png", "a\\..\\..\\e.png"]
)
def test_a_zip_with_a_path_outside_itself_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(UserError, match="a path outside the archive; refused"):
        prepare(folder_config(tmp_path / "evil.zip"), tmp_path)


def test_truncated_and_missing_archives_are_named(damaged, tmp_path):
    path = zipped(damaged, tmp_path / "images.zip")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"images\.zip is no readable \.zip"):
        prepare(folder_config(path), tmp_path)
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        prepare(folder_config(tmp_path / "nowhere"), tmp_path)


def test_too_few_images_to_hold_out(damaged, tmp_path):
    message = "class 'class0' has too few images in train .* expected 51 or more, or a larger dataset.holdout than 0.01"
    with pytest.raises(UserError, match=message):
        prepare(folder_config(damaged, holdout=0.01, splits=SplitFolders("train", None, "test")), tmp_path)


@pytest.mark.parametrize("as_zip", [False, True])
def test_folders_of_classes_alone_are_divided(damaged, tmp_path, as_zip):
    root = damaged / "train"
    count = len(list((root / "class0").iterdir()))
    root = zipped(root, tmp_path / "images.zip") if as_zip else root
    manifest = prepare(folder_config(root, holdout=0.25), tmp_path)
    held = round(0.25 * count), round(0.25 * (count - round(0.25 * count)))
    assert manifest["images"] == {"train": 4 * (count - sum(held)), "validation": 4 * held[0], "test": 4 * held[1]}
    assert manifest["classes"] == ["class0", "class1", "class2", "class3"]


def test_splits_without_classes_are_refused(damaged, tmp_path):
    for split in ("train", "validation", "test"):
        for folder in list((damaged / split).iterdir()):
            for path in folder.iterdir():
                path.rename(damaged / split / f"{folder.name}-{path.name}")
            folder.rmdir()
    with pytest.raises(UserError, match=r"no 'train/<class>/' images .*found nothing; expected <split>/<class>/ or"):
        prepare(folder_config(damaged), tmp_path)


def test_damaged_prepared_data_is_named(data, tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json cannot be read"):
        PreparedData(tmp_path, data.config)
    (tmp_path / "manifest.json").write_text(json.dumps(data.manifest))
    (tmp_path / "train.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(UserError, match=r"train\.safetensors is no readable split"):
        _ = PreparedData(tmp_path, data.config).train


class Killed(BaseException):
    """As if the process had been killed."""


def keeping_in(folder):
    """Keep everything at once."""
    return lambda split, files: Checkpoints(folder / split / files, 0, keep=None)


def test_an_interrupted_decoding_goes_on_where_it_was(drawn, tmp_path, monkeypatch):
    config, kept = folder_config(drawn), tmp_path / "kept"
    prepare(config, whole := new(tmp_path / "whole"))
    read, seen = ImageFolder.read, []

    def counting(self, name, *rest):
        seen.append(name)
        if len(seen) == 100:
            raise Killed
        return read(self, name, *rest)

    monkeypatch.setattr(ImageFolder, "read", counting)
    with pytest.raises(Killed):
        prepare(config, new(tmp_path / "first"), keeping=keeping_in(kept))
    before, seen[:] = set(seen[:90]), ["started again"] * 100
    prepare(config, second := new(tmp_path / "second"), keeping=keeping_in(kept))
    assert not before & set(seen)  # decoded once only
    for path in whole.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


@pytest.mark.parametrize("change", [{"crop": 0.8}, {"image_size": 20}, {"channels": 3}])
def test_kept_images_are_not_used_in_another_form(drawn, tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    manifests = []
    for extra in ({}, change):  # the first is killed as it ends: what it kept stays
        dataset = {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": str(drawn)}
        params = {"experiments": {"quick": {"dataset": dataset | extra}}, "checkpoint": {"seconds": 0}}
        work(Context("prepare", "quick", params=params), out := new(tmp_path / f"out{len(manifests)}"))
        manifests.append(json.loads((out / "manifest.json").read_text()))
    prepare(folder_config(drawn, **change), undisturbed := new(tmp_path / "undisturbed"))
    assert manifests[1] == json.loads((undisturbed / "manifest.json").read_text())
    assert manifests[0]["sha256"] != manifests[1]["sha256"]


def test_a_damaged_piece_is_decoded_again(drawn, tmp_path):
    config, kept = folder_config(drawn), tmp_path / "kept"
    prepare(config, whole := new(tmp_path / "whole"), keeping=keeping_in(kept))
    pieces = sorted(kept.rglob("*-*"))
    pieces[7].write_bytes(pieces[7].read_bytes()[:-1])
    pieces[20].unlink()
    prepare(config, second := new(tmp_path / "second"), keeping=keeping_in(kept))
    for path in whole.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_kept_images_are_not_used_for_changed_files(drawn, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(drawn, root)
    folder = ImageFolder(root)
    names = folder.names[:5]
    before = folder.fingerprint(names)
    assert folder.fingerprint(names) == before != folder.fingerprint(folder.names[:6])
    (root / names[0]).write_bytes((root / names[1]).read_bytes())
    assert folder.fingerprint(names) != before


def new(folder):
    folder.mkdir()
    return folder
