"""Every data set of the table, in miniature: who is in which split, labelled what, and which pixels are read."""

import gzip
import hashlib
import json
import os
import pickle
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torchvision import datasets

from dεps.core.errors import AbsentError, UserError
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.data.folder import ImageFolder
from dεps.data.splits import PreparedData
from dεps.sources.prepare import divided, prepare
from dεps.sources.registry import source_of
from dεps.sources.torchvision import BY_NAME, KINDS
from tests.tools.refusals import refusal
from tests.tools.torchvision_files import EMNIST_LETTERS, H5, WRITERS, Items, idx

ANIMALS = ["ant", "bee"]
DIGITS = ["0", "1"]
#: what torchvision calls the set's splits that become train, validation and test (None: held out), and the classes
SETS: dict[str, tuple[tuple[str | None, ...], list[str]]] = {
    "CIFAR10": (("train", None, "test"), ANIMALS),
    "CIFAR100": (("train", None, "test"), ANIMALS),
    "CLEVRClassification": (("train", None, "val"), ["3", "4"]),
    "Caltech101": (("all", None, None), ["ant", "beaver"]),
    "Caltech256": (("all", None, None), ["001.ak47", "002.flag"]),
    "Country211": (("train", "valid", "test"), ["AD", "ZW"]),
    "DTD": (("train", "val", "test"), ["banded", "dotted"]),
    "EMNIST": (("train", None, "test"), datasets.EMNIST.classes_split_dict["balanced"]),
    "EuroSAT": (("all", None, None), ["Forest", "River"]),
    "FER2013": (("train", None, "test"), DIGITS),
    "FGVCAircraft": (("train", "val", "test"), ["variant 1", "variant 2"]),
    "FashionMNIST": (("train", None, "test"), datasets.FashionMNIST.classes),
    "Flowers102": (("train", "val", "test"), datasets.Flowers102.classes),
    "Food101": (("train", None, "test"), ["apple_pie", "waffles"]),
    "GTSRB": (("train", None, "test"), DIGITS),
    "INaturalist": (("2021_train", None, "2021_valid"), ["00000_a_b_c_d_e_f_g", "00001_a_b_c_d_e_f_h"]),
    "Imagenette": (("train", None, "val"), ["tench, Tinca tinca", "English springer, English springer spaniel"]),
    "KMNIST": (("train", None, "test"), datasets.KMNIST.classes),
    "MNIST": (("train", None, "test"), datasets.MNIST.classes),
    "OxfordIIITPet": (("trainval", None, "test"), ["Maine Coon", "Beagle"]),
    "PCAM": (("train", "val", "test"), DIGITS),
    "Places365": (("train-standard", None, "val"), ["/a/airfield", "/b/bakery"]),
    "QMNIST": (("train", None, "test"), datasets.QMNIST.classes),
    "RenderedSST2": (("train", "val", "test"), ["negative", "positive"]),
    "SEMEION": (("all", None, None), DIGITS),
    "STL10": (("train", None, "test"), ANIMALS),
    "SUN397": (("all", None, None), ["abbey", "apse/indoor"]),
    "SVHN": (("train", None, "test"), DIGITS),
    "StanfordCars": (("train", None, "test"), ["Audi", "BMW"]),
    "USPS": (("train", None, "test"), DIGITS),
}
SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def any_file(monkeypatch):
    """Torchvision takes made-up files for the published ones."""
    for module in vars(datasets).values():
        if hasattr(module, "check_integrity"):
            monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: os.path.isfile(path))
    monkeypatch.setitem(sys.modules, "h5py", H5)


@pytest.fixture(autouse=True)
def no_internet(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no internet here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def config(name: str, root: Path, **values) -> DatasetConfig:
    return DatasetConfig(
        **{"name": name, "source": "torchvision", "image_size": 16, "channels": 3, "root": str(root)} | values
    )


def items_of(split: str, classes: int, per_class: int = 2) -> Items:
    """`per_class` images of each class, which alternate; every image of a data set has a grey of its own."""
    start = {"train": 40, "trainval": 40, "all": 40, "train-standard": 40, "2021_train": 40}.get(split, 0)
    start = start or {"val": 120, "valid": 120, "2021_valid": 160}.get(split, 160)
    return [(number % classes, start + 2 * number) for number in range(classes * per_class)]


def write(name: str, root: Path) -> dict[str, Items]:
    """The miniature below `root`; the items of each of our splits."""
    own, classes = SETS[name]
    # Flowers and the letters have names for more classes than there need be images of here: all get some.
    count = len(classes) if name in ("Flowers102", "EMNIST", "MNIST", "FashionMNIST", "KMNIST", "QMNIST") else 2
    per_class = 8 if own[0] == "all" else 1 if count > 10 else 2
    found = {ours: items_of(split, count, per_class) for ours, split in zip(SPLITS, own, strict=True) if split}
    if count > 10:  # more images than greys
        found = {split: [(label, grey % 200 + 20) for label, grey in items] for split, items in found.items()}
    if name == "SEMEION":
        found = {"train": [(label, 255 * (number % 4 < 2)) for number, (label, _) in enumerate(found["train"])]}
    root.mkdir(exist_ok=True)
    if name == "Flowers102":
        WRITERS[name](root, "all", [item for items in found.values() for item in items])
    else:
        for ours, split in zip(SPLITS, own, strict=True):
            if split:
                WRITERS[name](root, split, found[ours])
    return found


def seen(found, split: str) -> Items:
    """(label, grey) of each image of a split, as read."""
    result = []
    for image, label in found.listings[split]:
        if isinstance(found.images, ImageFolder):
            pixels = found.images.read(image, 16, 3)
        else:
            origin, _, row = image.partition("/")
            pixels = found.images[origin][0][int(row)]
        assert np.ptp(pixels) <= 1
        result.append((label, int(pixels.flat[0])))
    return result


def near(one: Items, other: Items) -> bool:
    """Same labels, greys within 1 (JPEG), whatever the order."""
    one, other = sorted(one), sorted(other)
    return len(one) == len(other) and all(
        a[0] == b[0] and abs(a[1] - b[1]) <= 1 for a, b in zip(one, other, strict=True)
    )


def test_every_data_set_has_a_miniature():
    assert list(KINDS) == list(SETS)
    assert set(SETS) == set(WRITERS)
    assert all(hasattr(datasets, name) for name in KINDS)
    assert BY_NAME["oxfordiiitpet"] == "OxfordIIITPet"


@pytest.mark.parametrize("name", SETS)
def test_each_split_has_its_images_and_labels(tmp_path, name):
    items, classes = write(name, tmp_path / "root"), SETS[name][1]
    source = source_of(config(name.lower(), tmp_path / "root"))
    found = source.find(download=False)
    found.check(name)
    assert found.classes == classes
    assert {split: len(found.listings[split]) for split in found.listings} == {s: len(i) for s, i in items.items()}
    assert source.own_splits() == tuple(found.listings)
    for split in items:
        assert near(seen(found, split), items[split])


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "SVHN", "STL10", "PCAM"])
def test_arrays_keep_their_order(tmp_path, name):
    items = write(name, tmp_path / "root")
    found = source_of(config(name, tmp_path / "root")).find(download=False)
    assert {split: seen(found, split) for split in found.listings} == items


# --- the same bytes as before ---

#: start of the SHA-256 of what the former readers of the authors' binary files made of these images and labels
BEFORE = {
    "cifar10": {
        "manifest.json": "87a3a88c690669d4",
        "test.safetensors": "b92c3963286bd242",
        "train.safetensors": "e1151bef8f32eff9",
        "validation.safetensors": "37280d615c9b7406",
    },
    "cifar100": {
        "manifest.json": "c6aed77255284018",
        "test.safetensors": "b92c3963286bd242",
        "train.safetensors": "e1151bef8f32eff9",
        "validation.safetensors": "37280d615c9b7406",
    },
    "fashion_mnist": {
        "manifest.json": "1cde0e898605d080",
        "test.safetensors": "d4fb6b86d5c68354",
        "train.safetensors": "a086d72127034136",
        "validation.safetensors": "12381cfe488a745f",
    },
}


def noise(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    side, channels, classes = (28, 1, 10) if name == "fashion_mnist" else (32, 3, 4)
    made = {}
    for split, count in (("train", 80), ("test", 20)):
        images = rng.integers(0, 256, (count, side, side, channels), np.uint8)
        labels = (np.arange(count) % classes).astype(np.uint8)
        rng.shuffle(labels)
        made[split] = (images, labels)
    return made


def write_noise(name: str, root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """As published: CIFAR's pickles, or Fashion-MNIST's archives, which are yet to be unpacked."""
    made = noise(name)
    if name == "fashion_mnist":
        (root / "FashionMNIST/raw").mkdir(parents=True)
        for split, prefix in (("train", "train"), ("test", "t10k")):
            images, labels = made[split]
            for part, data in (("images-idx3", idx(images[..., 0])), ("labels-idx1", idx(labels))):
                (root / f"FashionMNIST/raw/{prefix}-{part}-ubyte.gz").write_bytes(gzip.compress(data))
        return made
    folder = root / ("cifar-100-python" if name == "cifar100" else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    planes = {split: images.transpose(0, 3, 1, 2).reshape(len(images), -1) for split, (images, _) in made.items()}
    classes = ["ant", "bee", "cat", "dog"]
    if name == "cifar100":
        (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": classes}))
        for split, (_, labels) in made.items():
            (folder / split).write_bytes(pickle.dumps({"data": planes[split], "fine_labels": labels.tolist()}))
        return made
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))
    for number in range(5):
        part = slice(16 * number, 16 * number + 16)
        batch = {"data": planes["train"][part], "labels": made["train"][1][part].tolist()}
        (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(batch))
    (folder / "test_batch").write_bytes(pickle.dumps({"data": planes["test"], "labels": made["test"][1].tolist()}))
    return made


@pytest.mark.parametrize("name", BEFORE)
def test_the_bytes_are_those_of_the_former_readers(tmp_path, name):
    made = write_noise(name, tmp_path / "root")
    images = made["test"][0]
    form = {"image_size": images.shape[1], "channels": images.shape[3], "holdout": 0.25, "duplicates": "allow"}
    (out := tmp_path / "out").mkdir()
    manifest = prepare(config(name, tmp_path / "root", **form), out)
    assert manifest.pop("held_out") == ["validation"]
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(out.iterdir())} == BEFORE[
        name
    ]
    read = load_file(out / "test.safetensors")
    assert np.array_equal(read["images"], images)
    assert np.array_equal(read["labels"], made["test"][1])
    assert manifest["images"] == {"train": 60, "validation": 20, "test": 20}


# --- splits ---


@pytest.mark.parametrize(
    ("name", "splits", "expected"),
    [
        ("FGVCAircraft", SplitFolders("trainval", None, "test"), {"train": 8, "test": 4}),
        ("DTD", SplitFolders("train", "val", "test"), {"train": 4, "validation": 4, "test": 4}),
        ("DTD", SplitFolders("train", None, "test"), {"train": 4, "test": 4}),
        ("DTD", SplitFolders("val", None, None), {"train": 4}),
        ("Imagenette", SplitFolders("train", "val", None), {"train": 4, "validation": 4}),
        ("SVHN", SplitFolders("test", None, "train"), {"train": 4, "test": 4}),
    ],
)
def test_params_choose_among_the_splits_of_the_set(tmp_path, name, splits, expected):
    items = write(name, tmp_path)
    if name == "FGVCAircraft":
        WRITERS[name](tmp_path, "trainval", items["train"] + items["validation"])
    found = source_of(config(name, tmp_path, splits=splits)).find(download=False)
    assert {split: len(listing) for split, listing in found.listings.items()} == expected


@pytest.mark.parametrize(
    ("name", "splits", "message"),
    [
        (
            "DTD",
            {"validation": "dev"},
            r"dataset\.splits\.validation is 'dev'; DTD has: train, val, test; null: held out",
        ),
        ("EuroSAT", {"train": "all"}, r"dataset\.splits\.train is 'all'; EuroSAT has: train; null"),
        ("Imagenette", {"validation": "val"}, r"dataset\.splits take 'val' of Imagenette twice; expected different"),
        ("STL10", {"train": "unlabeled"}, r"splits\.train is 'unlabeled'; STL10 has: train, test"),
    ],
)
def test_splits_that_the_set_does_not_have_are_refused(name, splits, message):
    with pytest.raises(UserError, match=message):
        source_of(config(name, Path("x"), splits=SplitFolders(**splits)))


def test_what_is_missing_is_held_out_by_the_seed_and_shares_no_image(tmp_path):
    write("EuroSAT", tmp_path / "root")
    first = tmp_path / "root/eurosat/2750/Forest/000.jpg"
    shutil.copy(first, first.with_name("copy.jpg"))  # stays with its image, wherever that goes
    held = {"holdout": 0.25, "image_size": 16}
    found = divided(config("eurosat", tmp_path / "root", **held))
    assert found.held_out == ["validation", "test"]
    counts = {split: len(items) for split, items in found.listings.items()}
    assert sum(counts.values()) == 17
    assert 4 <= counts["validation"] <= 5
    digests = {
        split: {(tmp_path / "root" / name).read_bytes() for name, _ in items} for split, items in found.listings.items()
    }
    assert not (digests["train"] & digests["validation"] or digests["train"] & digests["test"])
    assert not digests["validation"] & digests["test"]
    assert divided(config("eurosat", tmp_path / "root", **held)).listings == found.listings
    other = divided(config("eurosat", tmp_path / "root", **held, holdout_seed=1)).listings
    assert other["validation"] != found.listings["validation"]


def test_splits_that_share_files_are_refused_even_where_copies_are_allowed(tmp_path):
    items = write("FGVCAircraft", tmp_path)
    WRITERS["FGVCAircraft"](tmp_path, "trainval", items["train"] + items["validation"])
    text = (tmp_path / "fgvc-aircraft-2013b/data/images_variant_val.txt").read_text()
    (tmp_path / "fgvc-aircraft-2013b/data/images_variant_trainval.txt").write_text(text)
    both = config("FGVCAircraft", tmp_path, splits=SplitFolders("trainval", "val", "test"), duplicates="allow")
    with pytest.raises(UserError, match=r"val0\.jpg' is in train and in validation; splits must not share images"):
        divided(both)


# --- versions and labels ---


def test_letters_are_counted_from_zero(tmp_path):
    for split in ("train", "test"):
        EMNIST_LETTERS(tmp_path, split, items_of(split, 26, 1))
    found = source_of(config("emnist", tmp_path, options={"version": "letters"})).find(download=False)
    assert found.classes == list("abcdefghijklmnopqrstuvwxyz")
    assert found.listings["train"][25] == ("train/25", 25)


@pytest.mark.parametrize(
    ("variant", "classes"),
    [("family", ["family 1", "family 2"]), ("manufacturer", ["manufacturer 1", "manufacturer 2"])],
)
def test_aircraft_have_levels(tmp_path, variant, classes):
    write("FGVCAircraft", tmp_path)
    chosen = config("fgvc-aircraft", tmp_path, options={"version": variant})
    assert source_of(chosen).find(download=False).classes == classes
    assert chosen.facts()["options"] == {"version": variant}


def test_pets_have_breeds_or_species(tmp_path):
    write("OxfordIIITPet", tmp_path)
    found = source_of(config("oxford_iiit_pet", tmp_path, options={"version": "species"})).find(download=False)
    assert found.classes == ["Cat", "Dog"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("EMNIST", {"version": "greek"}, r"dataset\.options\.version is 'greek'; allowed: balanced, byclass, bymerge"),
        ("CIFAR10", {"version": "fine"}, r"dataset\.options\.version is 'fine'; CIFAR10 has none, set null"),
        ("CIFAR10", {"split": "fine"}, r"dataset\.options\.split is no known key; allowed: version"),
    ],
)
def test_other_options_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        source_of(config(name, Path("x"), options=options))


@pytest.mark.parametrize(
    "name",
    ["CelebA", "CocoDetection", "Kinetics", "VOCSegmentation", "Sintel", "Omniglot", "LFWPeople", "imagenet", "x"],
)
def test_other_data_sets_are_refused_with_those_there_are(name):
    message = refusal(lambda: source_of(config(name, Path("x"))), f"dataset.name is {name!r}")
    assert "those with one class an image can be used: CIFAR10, CIFAR100, CLEVRClassification, " in message
    assert message.endswith("USPS; images in folders: source image_folder" if name == "imagenet" else "USPS")


@pytest.mark.parametrize("label", ["cat", None, (1, 0), True, 0.5])
def test_labels_that_are_no_class_numbers_are_refused(tmp_path, monkeypatch, label):
    write("STL10", tmp_path)
    monkeypatch.setattr(datasets.STL10, "__getitem__", lambda self, row: (Image.new("RGB", (96, 96)), label))
    message = refusal(lambda: source_of(config("stl10", tmp_path)).find(False), "dataset.name stl10")
    assert f"labels an image {label!r}; expected the number of one class" in message


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range_are_refused(tmp_path, label):
    WRITERS["STL10"](tmp_path, "train", [(0, 40), (1, 50), (label, 60)])
    WRITERS["STL10"](tmp_path, "test", [(0, 41), (1, 51)])
    # A label of 0 in the file, which counts from 1, wraps to 255.
    found = {-1: 255, 2: 2}[label]
    with pytest.raises(UserError, match=rf"'train/2' has the label {found}; expected 0 to 1"):
        divided(config("stl10", tmp_path, image_size=96))


def test_splits_with_other_classes_are_refused(tmp_path):
    write("Country211", tmp_path)
    shutil.rmtree(tmp_path / "country211/test/AD")  # ZW would be class 0 there
    message = refusal(lambda: divided(config("country211", tmp_path)), "dataset.name country211")
    assert "torchvision's Country211 has other classes in split 'test' than in train (such as AD)" in message


def test_running_out_of_memory_is_not_taken_for_damage(tmp_path, monkeypatch):
    def full(*_):
        raise MemoryError

    write("STL10", tmp_path)
    monkeypatch.setattr(datasets.STL10, "__getitem__", full)
    with pytest.raises(MemoryError):
        source_of(config("stl10", tmp_path)).find(False)


# --- images ---


def test_images_are_decoded_as_those_of_image_folders(tmp_path):
    root = tmp_path / "root/eurosat/2750"
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(7):
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(root / label / f"{number}.jpg")
        turned = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
        exif = turned.getexif()
        exif[0x0112] = 6
        turned.save(root / label / "7.jpg", exif=exif)
        Image.fromarray(rng.integers(0, 256, (33, 44), np.uint8)).save(root / label / "8.jpg")
        Image.fromarray(rng.integers(0, 256, (33, 44), np.uint8)).convert("P").save(root / label / "9.png")
        Image.fromarray(rng.integers(0, 256, (33, 44, 4), np.uint8), "RGBA").save(root / label / "10.png")
    form = {"image_size": 24, "channels": 3, "crop": 0.875, "holdout": 0.2}
    made = {}
    for source, folder in (("torchvision", tmp_path / "root"), ("image_folder", root)):
        for limit in (0, 2048):
            (out := tmp_path / f"{source}{limit}").mkdir()
            given = {"in_memory_limit_mb": limit, "root": str(folder), **form}
            own = DatasetConfig("eurosat", source, **given)
            prepare(own, out)
            data = PreparedData(out, own)
            made[source, limit] = {
                split: {
                    (getattr(data, split).read(torch.tensor([row])).numpy().tobytes(), int(label))
                    for row, label in enumerate(getattr(data, split).labels)
                }
                for split in SPLITS
            }
    assert made["torchvision", 0] == made["torchvision", 2048]
    assert made["image_folder", 0] == made["image_folder", 2048]
    # Which are held out depends on names; all together are the same.
    together = [set().union(*splits.values()) for splits in made.values()]
    assert len(together[0]) == 22
    assert all(images == together[0] for images in together)


def test_a_damaged_image_is_named(tmp_path):
    write("EuroSAT", tmp_path / "root")
    (tmp_path / "root/eurosat/2750/River/001.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"image 'eurosat/2750/River/001\.jpg' cannot be read"):
        prepare(config("eurosat", tmp_path / "root", holdout=0.25), tmp_path)


# --- what is not there ---


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_not_there_is_named_with_the_cure(tmp_path, name, there):
    root = tmp_path / "root"
    if there:
        root.mkdir()
    with pytest.raises(AbsentError) as caught:
        source_of(config(name, root, download=False)).find(download=False)
    cure = "set dataset.download to true, or put its files there, as torchvision.datasets." + name
    if not KINDS[name].downloads:
        cure = "and cannot be downloaded by it; put its files there, as torchvision.datasets." + name
    message = refusal(lambda: prepare(config(name, root, download=False), tmp_path), cure)
    assert message == str(caught.value)
    assert message.startswith(f"dataset.name {name}: torchvision's {name} is not in {root} (")


@pytest.mark.parametrize("name", [name for name in SETS if KINDS[name].downloads])
def test_without_internet_nothing_is_left_behind(tmp_path, name):
    message = refusal(lambda: prepare(config(name, tmp_path / "root"), tmp_path), f"torchvision's {name}")
    if name == "PCAM":
        assert message.endswith("needs the package gdown, which is not installed; pip install gdown")
    else:
        assert "the download failed (" in message
        assert f"put its files there, as torchvision.datasets.{name} expects them" in message
    assert list((tmp_path / "root").rglob("*.*")) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    message = refusal(lambda: source_of(config("pcam", tmp_path)).find(False), "dataset.name pcam")
    assert message.endswith("needs the package h5py, which is not installed; pip install h5py")
    write("SVHN", tmp_path)
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    message = refusal(lambda: source_of(config("svhn", tmp_path)).find(False), "dataset.name svhn")
    assert message.endswith("needs the package scipy, which is not installed; pip install scipy")


def test_archives_in_root_are_unpacked_not_downloaded(tmp_path):
    (tmp_path / "made").mkdir()
    items = items_of("all", 2, 8)
    WRITERS["EuroSAT"](tmp_path / "made", "all", items)
    (root := tmp_path / "root/eurosat").mkdir(parents=True)
    shutil.make_archive(str(root / "EuroSAT"), "zip", tmp_path / "made/eurosat")
    found = divided(config("eurosat", tmp_path / "root", holdout=0.25), download=True)
    assert sum(map(len, found.listings.values())) == 16
    assert sorted(path.name for path in root.iterdir()) == ["2750", "EuroSAT.zip"]
    assert [path.name for path in root.parent.iterdir()] == ["eurosat"]


def test_a_download_that_breaks_off_while_unpacking_leaves_no_data_set(tmp_path, monkeypatch):
    def half(self):
        WRITERS["EuroSAT"](Path(self.root), "all", items_of("all", 2, 2))
        raise OSError("disk full")

    monkeypatch.setattr(datasets.EuroSAT, "download", half)
    message = refusal(lambda: prepare(config("eurosat", tmp_path / "root"), tmp_path), "dataset.name eurosat")
    assert "the download failed (disk full)" in message
    assert list((tmp_path / "root").iterdir()) == []


def test_a_download_is_put_in_place_and_asked_for_once(tmp_path, monkeypatch):
    calls = []

    def whole(self):
        if self._check_exists():
            return
        calls.append(self.root)
        WRITERS["EuroSAT"](Path(self.root), "all", items_of("all", 2, 8))

    monkeypatch.setattr(datasets.EuroSAT, "download", whole)
    for _ in range(2):
        assert prepare(config("eurosat", tmp_path / "root", holdout=0.25), tmp_path)["images_total"] == 16
    assert len(calls) == 1
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["eurosat"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("CIFAR10", "cifar-10-batches-py/data_batch_2"),
        ("MNIST", "MNIST/raw/train-images-idx3-ubyte"),
        ("SVHN", "train_32x32.mat"),
        ("STL10", "stl10_binary/train_X.bin"),
        ("Flowers102", "flowers-102/setid.mat"),
        ("OxfordIIITPet", "oxford-iiit-pet/annotations/trainval.txt"),
        ("Food101", "food-101/meta/train.json"),
        ("USPS", "usps.bz2"),
    ],
)
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_files_of_a_set_are_refused_in_a_line(tmp_path, name, file, damage):
    write(name, root := tmp_path / "root")
    content = (root / file).read_bytes()
    changed = {"cut": content[: len(content) // 2 + 1], "text": b"this is none", "empty": b""}[damage]
    (root / file).write_bytes(changed)
    refusal(lambda: divided(config(name, root, image_size=28, duplicates="allow")), f"torchvision's {name}", str(root))


class Planted:
    """A pickle that runs a command when it is opened."""

    def __reduce__(self):
        return os.mkdir, (os.environ["PLANTED"],)


def test_no_pickle_is_opened_but_the_published_ones(tmp_path, monkeypatch):
    monkeypatch.undo()  # torchvision compares MD5s again
    monkeypatch.setenv("PLANTED", str(tmp_path / "planted"))
    write("CIFAR10", tmp_path / "root")
    for path in (tmp_path / "root/cifar-10-batches-py").iterdir():
        path.write_bytes(pickle.dumps(Planted()))
    with pytest.raises(AbsentError, match=r"Dataset not found or corrupted\); set dataset\.download"):
        source_of(config("cifar10", tmp_path / "root")).find(download=False)
    assert not (tmp_path / "planted").exists()
