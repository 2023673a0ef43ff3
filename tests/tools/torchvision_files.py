"""Torchvision's data sets in miniature: files as each class expects them, every image of one grey.

A set is a function that writes one of its own splits: `write(root, split, items)`, items being (label, grey) of each
image, in order.
"""

from __future__ import annotations

import bz2
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

Items = list[tuple[int, int]]
Writer = Callable[[Path, str, Items], None]
WRITERS: dict[str, Writer] = {}


def writes(name: str) -> Callable[[Writer], Writer]:
    def keep(writer: Writer) -> Writer:
        WRITERS[name] = writer
        return writer

    return keep


def picture(path: Path, grey: int, size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)
    return path


def text(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def greys(items: Items, *shape: int) -> np.ndarray:
    return np.stack([np.full(shape, grey, np.uint8) for _, grey in items])


def labels(items: Items, offset: int = 0) -> np.ndarray:
    return np.array([label + offset for label, _ in items])


# --- arrays ---


def cifar(name: str, key: str, meta: tuple[str, str], split_files: dict[str, list[str]]) -> Writer:
    def write(root: Path, split: str, items: Items) -> None:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: ["ant", "bee"]}))
        files = split_files[split]
        for number, file in enumerate(files):
            own = items[number * len(items) // len(files) : (number + 1) * len(items) // len(files)]
            data = greys(own, 3072) if own else np.empty((0, 3072), np.uint8)
            (folder / file).write_bytes(pickle.dumps({"data": data, key: [label for label, _ in own]}))

    return write


BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
WRITERS["CIFAR10"] = cifar(
    "cifar-10-batches-py", "labels", ("batches.meta", "label_names"), {"train": BATCHES, "test": ["test_batch"]}
)
WRITERS["CIFAR100"] = cifar(
    "cifar-100-python", "fine_labels", ("meta", "fine_label_names"), {"train": ["train"], "test": ["test"]}
)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def mnist(name: str, prefixes: dict[str, str], offset: int = 0) -> Writer:
    def write(root: Path, split: str, items: Items) -> None:
        folder = root / name / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{prefixes[split]}-images-idx3-ubyte").write_bytes(idx(greys(items, 28, 28)))
        (folder / f"{prefixes[split]}-labels-idx1-ubyte").write_bytes(idx(labels(items, offset).astype(np.uint8)))

    return write


for _name in ("MNIST", "FashionMNIST", "KMNIST"):
    WRITERS[_name] = mnist(_name, {"train": "train", "test": "t10k"})
WRITERS["EMNIST"] = mnist("EMNIST", {split: f"emnist-balanced-{split}" for split in ("train", "test")})
#: labelled from 1, as published
EMNIST_LETTERS = mnist("EMNIST", {split: f"emnist-letters-{split}" for split in ("train", "test")}, 1)


@writes("QMNIST")
def qmnist(root: Path, split: str, items: Items) -> None:
    folder = root / "QMNIST/raw"
    folder.mkdir(parents=True, exist_ok=True)
    table = np.zeros((len(items), 8), ">i4")
    table[:, 0] = labels(items)
    (folder / f"qmnist-{split}-images-idx3-ubyte").write_bytes(idx(greys(items, 28, 28)))
    (folder / f"qmnist-{split}-labels-idx2-int").write_bytes(idx(table, 12))


@writes("USPS")
def usps(root: Path, split: str, items: Items) -> None:
    lines = []
    for label, grey in items:
        value = (grey + 0.5) / 255 * 2 - 1
        lines.append(f"{label + 1} " + " ".join(f"{n}:{value:.6f}" for n in range(1, 257)))
    (root / {"train": "usps.bz2", "test": "usps.t.bz2"}[split]).write_bytes(bz2.compress("\n".join(lines).encode()))


@writes("SVHN")
def svhn(root: Path, split: str, items: Items) -> None:
    digits = np.where(labels(items) == 0, 10, labels(items))[:, None]
    savemat(root / f"{split}_32x32.mat", {"X": greys(items, 32, 32, 3).transpose(1, 2, 3, 0), "y": digits})


@writes("STL10")
def stl10(root: Path, split: str, items: Items) -> None:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True, exist_ok=True)
    greys(items, 3, 96, 96).tofile(folder / f"{split}_X.bin")
    labels(items, 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    (folder / "unlabeled_X.bin").touch()
    text(folder / "class_names.txt", ["ant", "bee"])


@writes("SEMEION")
def semeion(root: Path, split: str, items: Items) -> None:
    rows = []  # black or white only
    for label, grey in items:
        rows.append(" ".join([f"{float(grey > 127):.4f}"] * 256 + [str(int(label == n)) for n in range(10)]))
    text(root / "semeion.data", rows)


@writes("FER2013")
def fer2013(root: Path, split: str, items: Items) -> None:
    path, usage = root / "fer2013/fer2013.csv", {"train": "Training", "test": "PublicTest"}[split]
    before = path.read_text().splitlines() if path.exists() else ["emotion,pixels,Usage"]
    text(path, before + [f"{label},{' '.join([str(grey)] * 48 * 48)},{usage}" for label, grey in items])


class H5:
    """As much of h5py as torchvision uses: arrays of an .npz by name."""

    class File:
        def __init__(self, path: Path) -> None:
            self.arrays = np.load(path)

        def __enter__(self) -> dict:
            return self.arrays

        def __exit__(self, *_: object) -> None:
            self.arrays.close()


@writes("PCAM")
def pcam(root: Path, split: str, items: Items) -> None:
    (root / "pcam").mkdir(exist_ok=True)
    stem = root / f"pcam/camelyonpatch_level_2_split_{'valid' if split == 'val' else split}"
    for part, array in (("x", greys(items, 96, 96, 3)), ("y", labels(items).reshape(-1, 1, 1, 1))):
        with open(f"{stem}_{part}.h5", "wb") as file:
            np.savez(file, **{part: array})


# --- files ---


def by_class(folders: dict[str, str], classes: list[str], suffix: str, pattern: str = "{n:03d}") -> Writer:
    """`<folder of the split>/<class>/<n>.<suffix>`."""

    def write(root: Path, split: str, items: Items) -> None:
        for number, (label, grey) in enumerate(items):
            name = pattern.format(n=number, c=label + 1)
            picture(root / folders[split] / classes[label] / f"{name}{suffix}", grey)

    return write


WRITERS["EuroSAT"] = by_class({"all": "eurosat/2750"}, ["Forest", "River"], ".jpg")
WRITERS["Country211"] = by_class({s: f"country211/{s}" for s in ("train", "valid", "test")}, ["AD", "ZW"], ".jpg")
WRITERS["RenderedSST2"] = by_class(
    {"train": "rendered-sst2/train", "val": "rendered-sst2/valid", "test": "rendered-sst2/test"},
    ["negative", "positive"],
    ".png",
)
WRITERS["Imagenette"] = by_class(
    {split: f"imagenette2/{split}" for split in ("train", "val")}, ["n01440764", "n02102040"], ".JPEG"
)


@writes("INaturalist")
def inaturalist(root: Path, split: str, items: Items) -> None:
    by_class({split: split}, ["00000_a_b_c_d_e_f_g", "00001_a_b_c_d_e_f_h"], ".jpg")(root, split, items)


def counted(items: Items) -> list[tuple[int, int, int]]:
    """(label, grey, number within the class, from 1)."""
    seen: dict[int, int] = {}
    result = []
    for label, grey in items:
        seen[label] = seen.get(label, 0) + 1
        result.append((label, grey, seen[label]))
    return result


@writes("Caltech101")
def caltech101(root: Path, split: str, items: Items) -> None:
    folder = root / "caltech101/101_ObjectCategories"
    (folder / "BACKGROUND_Google").mkdir(parents=True)
    for label, grey, number in counted(items):
        picture(folder / ["ant", "beaver"][label] / f"image_{number:04d}.jpg", grey)


@writes("Caltech256")
def caltech256(root: Path, split: str, items: Items) -> None:
    folder = root / "caltech256/256_ObjectCategories"
    for label, grey, number in counted(items):
        picture(folder / ["001.ak47", "002.flag"][label] / f"{label + 1:03d}_{number:04d}.jpg", grey)


@writes("DTD")
def dtd(root: Path, split: str, items: Items) -> None:
    names = [f"{['banded', 'dotted'][label]}/{split}_{n}.jpg" for n, (label, _) in enumerate(items)]
    for name, (_, grey) in zip(names, items, strict=True):
        picture(root / "dtd/dtd/images" / name, grey)
    text(root / f"dtd/dtd/labels/{split}1.txt", names)


@writes("FGVCAircraft")
def aircraft(root: Path, split: str, items: Items) -> None:
    data = root / "fgvc-aircraft-2013b/data"
    for level, file in (("variant", "variants"), ("family", "families"), ("manufacturer", "manufacturers")):
        classes = [f"{level} 1", f"{level} 2"]
        text(data / f"{file}.txt", classes)
        text(
            data / f"images_{level}_{split}.txt",
            [f"{split}{n} {classes[label]}" for n, (label, _) in enumerate(items)],
        )
    for number, (_, grey) in enumerate(items):
        picture(data / f"images/{split}{number}.jpg", grey)


@writes("Food101")
def food101(root: Path, split: str, items: Items) -> None:
    listed: dict[str, list[str]] = {"apple_pie": [], "waffles": []}
    for number, (label, grey) in enumerate(items):
        name = f"{list(listed)[label]}/{split}{number}"
        picture(root / f"food-101/images/{name}.jpg", grey)
        listed[list(listed)[label]].append(name)
    (root / "food-101/meta").mkdir(exist_ok=True)
    (root / f"food-101/meta/{split}.json").write_text(json.dumps(listed))


@writes("Flowers102")
def flowers(root: Path, split: str, items: Items) -> None:
    """All splits in one, since they share two files: 'all' is (train, val, test) in thirds."""
    folder = root / "flowers-102"
    for number, (_, grey) in enumerate(items, 1):
        picture(folder / f"jpg/image_{number:05d}.jpg", grey)
    ids = np.arange(1, len(items) + 1).reshape(3, -1)
    savemat(folder / "imagelabels.mat", {"labels": labels(items, 1)})
    savemat(folder / "setid.mat", {"trnid": ids[0], "valid": ids[1], "tstid": ids[2]})


@writes("GTSRB")
def gtsrb(root: Path, split: str, items: Items) -> None:
    base, rows = root / "gtsrb", ["Filename;Width;Height;ClassId"]
    for number, (label, grey) in enumerate(items):
        if split == "train":
            picture(base / f"GTSRB/Training/{label:05d}/{number:05d}.ppm", grey)
        else:
            picture(base / f"GTSRB/Final_Test/Images/{number:05d}.ppm", grey)
            rows.append(f"{number:05d}.ppm;24;20;{label}")
    if split == "test":
        text(base / "GT-final_test.csv", rows)


@writes("OxfordIIITPet")
def pets(root: Path, split: str, items: Items) -> None:
    """Two breeds: a cat and a dog."""
    folder, lines = root / "oxford-iiit-pet", []
    for number, (label, grey) in enumerate(items):
        name = f"{['Maine_Coon', 'beagle'][label]}_{split}{number}".replace("trainval", "1").replace("test", "2")
        picture(folder / f"images/{name}.jpg", grey)
        lines.append(f"{name} {label + 1} {label + 1} 1")
    text(folder / f"annotations/{split}.txt", lines)


@writes("SUN397")
def sun397(root: Path, split: str, items: Items) -> None:
    classes = ["/a/abbey", "/a/apse/indoor"]
    text(root / "SUN397/ClassName.txt", classes)
    for number, (label, grey) in enumerate(items):
        picture(root / f"SUN397{classes[label]}/sun_{number:03d}.jpg", grey)


@writes("StanfordCars")
def cars(root: Path, split: str, items: Items) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True, exist_ok=True)
    table = np.array([(f"{n}.jpg", label + 1) for n, (label, _) in enumerate(items)], [("fname", "O"), ("class", "O")])
    path = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}[split]
    savemat(folder / path, {"annotations": table})
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(["Audi", "BMW"], "O")})
    for number, (_, grey) in enumerate(items):
        picture(folder / f"cars_{split}/{number}.jpg", grey)


@writes("CLEVRClassification")
def clevr(root: Path, split: str, items: Items) -> None:
    folder, scenes = root / "clevr/CLEVR_v1.0", []
    for number, (label, grey) in enumerate(items):
        picture(folder / f"images/{split}/{number:03d}.png", grey)
        scenes.append({"image_filename": f"{number:03d}.png", "objects": [0] * (label + 3)})
    text(folder / f"scenes/CLEVR_{split}_scenes.json", [json.dumps({"scenes": scenes})])


@writes("Places365")
def places(root: Path, split: str, items: Items) -> None:
    text(root / "categories_places365.txt", ["/a/airfield 0", "/b/bakery 1"])
    name = {"train-standard": "places365_train_standard", "val": "places365_val"}[split]
    folder = {"train-standard": "data_256_standard", "val": "val_256"}[split]
    text(root / f"{name}.txt", [f"/x/{n}.jpg {label}" for n, (label, _) in enumerate(items)])
    for number, (_, grey) in enumerate(items):
        picture(root / folder / f"x/{number}.jpg", grey)
