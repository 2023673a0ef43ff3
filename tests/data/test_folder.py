"""Image files by value, and which files of a folder or .zip are data, texts, or refused by name."""

from __future__ import annotations

import io
import os
import shutil
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dεps.data.config import DatasetConfig, SplitFolders, read_classes
from dεps.data.folder import EXTENSIONS, ImageFolder
from dεps.data.splits import PreparedData
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.classify import classify, model_input
from dεps.sources.prepare import prepare
from tests.conftest import draw_image_folder, zipped
from tests.tools.refusals import refusal

SIDE = 8
DEEP = np.array([0, 257, 32896, 65535], np.uint16)  # what 0, 1, 128 and 255 are in 16 bits
SHALLOW = [0, 1, 128, 255]


def block(values: object, dtype: object = np.uint8) -> np.ndarray:
    """4 values (or pixels) as columns of a square."""
    values = np.repeat(np.asarray(values, dtype), 2, axis=0)
    return np.ascontiguousarray(np.broadcast_to(values, (SIDE, *values.shape)))


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def png16(pixels: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(pixels: np.ndarray, bits: int, photometric: int = 1, kind: int = 1, order: str = "<") -> bytes:
    """An uncompressed grey TIFF, of any number of bits."""
    data, tags = pixels.tobytes(), {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: photometric, 277: 1, 278: SIDE}
    tags |= {273: 8 + 2 + 12 * 10 + 4, 279: len(data), 339: kind}
    fields = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    start = struct.pack(f"{order}2sHIH", {"<": b"II", ">": b"MM"}[order], 42, 8, len(tags))
    return start + fields + struct.pack(f"{order}I", 0) + data


def palette() -> Image.Image:
    picture = Image.fromarray(block([0, 1, 2, 3])).convert("P")
    picture.putdata(block([0, 1, 2, 3]).ravel())
    picture.putpalette([0, 0, 0, 10, 20, 30, 128, 128, 128, 255, 0, 0])
    return picture


def alpha(colour: int) -> np.ndarray:
    """Grey or colour of 100, from transparent to opaque."""
    return block([[100] * colour + [a] for a in (0, 51, 204, 255)])


TWELVE = np.packbits(
    np.unpackbits(block([0, 16, 2048, 4095], ">u2").view(np.uint8).reshape(SIDE, SIDE, 2), axis=2)[..., 4:]
)
WHITE = 255
#: file content, and the four grey values that a viewer would show
GREY = {
    "8 bits": (encoded(Image.fromarray(block(SHALLOW)), "PNG"), SHALLOW),
    "1 bit": (encoded(Image.fromarray(block([0, 255, 0, 255])).convert("1"), "PNG"), [0, 255, 0, 255]),
    "I;16 PNG": (encoded(Image.fromarray(block(DEEP, np.uint16)), "PNG"), SHALLOW),
    "I;16 TIFF": (encoded(Image.fromarray(block(DEEP, np.uint16)), "TIFF"), SHALLOW),
    "I;16B TIFF": (tiff(block(DEEP, ">u2"), 16, order=">"), SHALLOW),
    "16 bits, 0 is white": (tiff(block(DEEP, "<u2"), 16, photometric=0), [255, 254, 127, 0]),
    "12 bits": (tiff(TWELVE, 12), [0, 1, 128, 255]),
    "LA of 16 bits": (png16(block(np.stack([DEEP, [65535] * 4], 1), np.uint16), 4), SHALLOW),
    "RGB of 16 bits": (png16(block(np.stack([DEEP] * 3, 1), np.uint16), 2), SHALLOW),
    "LA": (encoded(Image.fromarray(alpha(1), "LA"), "PNG"), [WHITE, 224, 131, 100]),
    "RGBA": (encoded(Image.fromarray(alpha(3)), "PNG"), [WHITE, 224, 131, 100]),
    "RGBA WebP": (encoded(Image.fromarray(alpha(3)), "WEBP", lossless=True, exact=True), [WHITE, 224, 131, 100]),
    "palette": (encoded(palette(), "PNG"), [0, 18, 128, 76]),
    "palette, transparent": (encoded(palette(), "PNG", transparency=0), [WHITE, 18, 128, 76]),
    "GIF, transparent": (encoded(palette(), "GIF", transparency=2), [0, 18, WHITE, 76]),
    "grey, one value transparent": (
        encoded(Image.fromarray(block(SHALLOW)), "PNG", transparency=1),
        [0, WHITE, 128, 255],
    ),
    "CMYK": (
        encoded(Image.fromarray(block([[0, 0, 0, 255], [0, 0, 0, 127], [0, 0, 0, 0], [0, 0, 0, 0]]), "CMYK"), "TIFF"),
        [0, 128, 255, 255],
    ),
    "BMP": (encoded(Image.fromarray(block(SHALLOW)), "BMP"), SHALLOW),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("what", GREY)
def test_images_of_each_kind_have_the_values_that_a_viewer_shows(tmp_path, what, channels):
    content, expected = GREY[what]
    (tmp_path / "x.png").write_bytes(content)
    pixels = ImageFolder(tmp_path).read("x.png", SIDE, channels)
    grey = np.asarray(Image.fromarray(pixels[..., 0] if channels == 1 else pixels).convert("L"))
    assert grey[0, ::2].tolist() == expected
    assert (grey == grey[0]).all()


def test_a_cmyk_jpeg_has_its_colours(tmp_path):
    inks = np.full((SIDE, SIDE, 4), (0, 255, 255, 0), np.uint8)  # magenta and yellow
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.jpg", quality=100)
    assert abs(ImageFolder(tmp_path).read("x.jpg", SIDE, 3).astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_range_are_refused(tmp_path, kind):
    Image.fromarray(block(SHALLOW, kind)).save(tmp_path / "x.tif")
    message = refusal(lambda: ImageFolder(tmp_path).read("x.tif", SIDE, 1), "x.tif")
    assert "without a known range; convert it to 8 or 16 bits" in message
    (tmp_path / "x.tif").write_bytes(tiff(block(DEEP, "<i2"), 16, kind=2))
    assert "without a known range" in refusal(lambda: ImageFolder(tmp_path).read("x.tif", SIDE, 1), "x.tif")


# --- orientation -----------------------------------------------------------------------------------------------

UPRIGHT = np.repeat(np.repeat(np.array([[0, 80], [160, 240]], np.uint8), 16, 0), 16, 1)
#: how a camera stores the upright picture under each EXIF orientation
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


def turned(path: Path, orientation: int, add: int = 0) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation]) + np.uint8(add)).save(path, exif=exif)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_images_are_upright(tmp_path, orientation, suffix):
    turned(tmp_path / f"x{suffix}", orientation)
    pixels = ImageFolder(tmp_path).read(f"x{suffix}", 32, 1)[..., 0]
    assert abs(pixels[4::16, 4::16].astype(int) - UPRIGHT[4::16, 4::16]).max() <= 4


def test_images_are_upright_wherever_they_are_read(tmp_path):
    for number, split in enumerate(("train", "validation", "test")):
        for label in range(2):
            (tmp_path / f"images/{split}/c{label}").mkdir(parents=True)
            turned(tmp_path / f"images/{split}/c{label}/x.png", 6, add=2 * number + label)
    read = []
    for limit in (0, 2048):
        config = DatasetConfig("turned", "image_folder", 32, 1, str(tmp_path / "images"), in_memory_limit_mb=limit)
        (tmp_path / str(limit)).mkdir()
        prepare(config, tmp_path / str(limit))
        train = PreparedData(tmp_path / str(limit), config).train
        read += [train.read(torch.tensor([0]))[0, ..., 0].numpy(), np.asarray(train.picture(0))]
    card = ModelCard.__new__(ModelCard)
    for key, value in {"crop": 1.0, "size": 32, "resolution": 32, "channels": 1, "mean": [0.0], "std": [1.0]}.items():
        object.__setattr__(card, key, value)
    read.append((model_input(tmp_path / "images/train/c0/x.png", card)[0] * 255).round())
    assert all(np.array_equal(pixels, UPRIGHT) for pixels in read)


def test_damaged_exif_data_says_nothing(tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded(Image.fromarray(UPRIGHT), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\1"))
    assert ImageFolder(tmp_path).read("x.jpg", 32, 1).shape == (32, 32, 1)


# --- what is data ----------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return draw_image_folder(tmp_path / "images", {"train": 6, "validation": 2, "test": 2}, classes=2)


def listing(root: Path, as_zip: bool = False, **values: object) -> tuple[dict, list[str]]:
    """Files and classes of a folder, or of a .zip of all of it."""
    if as_zip:
        root = zipped(root, root.parent / f"{len(list(root.parent.iterdir()))}.zip")
    return ImageFolder(root).splits(SplitFolders(**{**vars(SplitFolders()), **values}), None)


def test_names_that_begin_with_a_dot_and_slash_are_not_hidden(images, tmp_path):
    expected = listing(images, as_zip=True)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for path in sorted(images.rglob("*.png")):
            archive.writestr(f"./{path.relative_to(images)}", path.read_bytes())
    folder = ImageFolder(tmp_path / "other.zip")
    assert folder.splits(SplitFolders(), None) == expected
    name = expected[0]["train"][0][0]
    assert folder.content(name) == (images / name).read_bytes()


JUNK = [".ipynb_checkpoints/x.png", "__MACOSX/class0/._x.png", "train/.cache/x.png", "train/class0/._000.png"]
JUNK += ["train/class0/.DS_Store", "train/class1/Thumbs.db", "test/class1/DESKTOP.INI", "train/@eaDir/x.png"]
TEXT = ["README", "labels.csv", "train/labels.txt", "train/class0/boxes.txt", "train/class1/LICENSE", "archive.tar.gz"]


@pytest.mark.parametrize("as_zip", [False, True])
def test_hidden_files_and_texts_are_no_data(images, as_zip):
    expected = listing(images, as_zip)
    for name in (*JUNK, *TEXT):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / "train/class0/000.png", images / name)
    assert listing(images, as_zip) == expected
    plain = listing(images / "train", as_zip)
    assert plain[1] == ["class0", "class1"]
    assert [len(items) for items in plain[0].values()] == [12]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("suffix", [*EXTENSIONS, ".JPG", ".TiFF", ".WEBP"])
def test_a_class_of_each_kind_of_file_is_used(images, suffix, as_zip):
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        (images / split / "more").mkdir()
        for number in range(count):
            shutil.copy(images / split / "class0/000.png", images / split / f"more/{number}{suffix}")
    found, classes = listing(images, as_zip)
    assert classes == ["class0", "class1", "more"]
    assert {split: sum(label == 2 for _, label in items) for split, items in found.items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }


def touch(name: str) -> Callable[[Path], object]:
    return lambda root: ((root / name).parent.mkdir(parents=True, exist_ok=True), (root / name).write_bytes(b"x"))


REFUSED = {
    **{
        f"a file {name}": (touch(name), f"'{name}' is no image that can be read")
        for name in (
            "train/class0/x.heic",
            "test/class1/x.AVIF",
            "train/class0/x.jp2",
            "train/class1/0001",
            "train/x.npy",
        )
    },
    "a class of another kind": (touch("train/third/x.heic"), "'train/third/x.heic' is no image"),
    "an image in no class": (touch("train/x.png"), "image 'train/x.png' is in no class folder"),
    "an image in no folder": (touch("x.png"), "image 'x.png' is in no class folder"),
    "an empty class": (lambda root: (root / "train/third").mkdir(), "class 'third' has no images in split 'train'"),
    "a class of hidden files": (touch("test/third/.x.png"), "class 'third' of split 'test' is not in train"),
    "a class beside the splits": (touch("third/x.png"), "images in 'third' beside train, validation, test"),
    "a split in two spellings": (touch("Train/class0/x.png"), "images in 'Train' beside train"),
    "a split of another name": (
        lambda root: (root / "validation").rename(root / "val"),
        r"no folder 'validation' (dataset.splits.validation), but 'val', which no split names",
    ),
    "a folder called as an image": (
        lambda root: (root / "train/class0/x.jpg").mkdir(),
        "'train/class0/x.jpg' is a folder",
    ),
}


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_left_out_is_named(images, what, as_zip):
    spoil, expected = REFUSED[what]
    spoil(images)
    assert expected in refusal(lambda: listing(images, as_zip), "images" if not as_zip else ".zip")


def test_folders_of_imagenet_may_have_a_test_set_without_labels(images):
    (images / "validation").rename(images / "val")
    for path in sorted((images / "test").rglob("*.png")):
        path.rename(images / "test" / f"{path.parent.name}_{path.name}")
    for path in list((images / "test").iterdir()):
        path.rmdir() if path.is_dir() else None
    found, _ = listing(images, validation=None, test="val")
    assert {split: len(items) for split, items in found.items()} == {"train": 12, "test": 4}


SPECIAL = {
    "pipe": os.mkfifo,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("what", SPECIAL)
def test_what_is_no_file_is_an_error_at_once(images, monkeypatch, what):
    monkeypatch.chdir(images)
    SPECIAL[what](path := images / "train/class0/pipe.jpg")
    assert "is no regular file" in refusal(lambda: listing(images), "train/class0/pipe.jpg")
    assert "is no regular file" in refusal(lambda: list(classify(images / "x.onnx", [images / "train"], 1)), "pipe.jpg")
    card = ModelCard.__new__(ModelCard)
    assert refusal(lambda: model_input(path, card), "pipe.jpg")
    path.rename(images / "train/class0/000.png")  # since it was listed
    assert "cannot be read" in refusal(lambda: ImageFolder(images).read("train/class0/000.png", 28, 1), "000.png")


def test_links_are_followed_and_loops_named(images, tmp_path):
    (images / "train/class1").rename(tmp_path / "elsewhere")
    (images / "train/class1").symlink_to(tmp_path / "elsewhere")
    assert len(listing(images)[0]["train"]) == 12
    (images / "train/class0/again").symlink_to(images / "train")
    assert "is a link to a folder that it lies in" in refusal(lambda: listing(images), "train/class0/again")


def test_a_zip_that_holds_a_name_twice_is_refused(images, tmp_path):
    path = zipped(images, tmp_path / "x.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("train/class0/000.png", b"other")
    assert "twice" in refusal(lambda: ImageFolder(path).names, "train/class0/000.png")


def test_classify_names_what_it_would_leave_out(images):
    touch("train/class0/x.heic")(images)
    assert "'class0/x.heic' is no image" in refusal(
        lambda: list(classify(Path("m.onnx"), [images / "train"], 1)), "train"
    )


# --- class lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"great white shark\nb\n",
        b"\xef\xbb\xbfgreat white shark\r\nb\r\n",
        b"\n  great white shark \r\n\r\nb",
        b"great white shark\rb",
    ],
)
def test_class_lists_hold_a_name_a_line(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    assert read_classes(str(tmp_path / "list.txt")) == ["great white shark", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n\na \n", "names 'a' twice, in lines 1 and 4"),
        (b"\n \n", "is empty; expected a class (folder name) a line"),
        ("a\nb".encode("utf-16"), "cannot be read"),
    ],
)
def test_class_lists_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "list.txt").write_bytes(content)
    assert message in refusal(lambda: read_classes(str(tmp_path / "list.txt")), "list.txt")


def test_classes_with_blanks_and_classes_that_are_not_there(images, tmp_path):
    for split in ("train", "validation", "test"):
        (images / split / "class1").rename(images / split / "great white shark")
        touch(f"{split}/unlisted/x.heic")(images)  # of no class that is asked for
    (tmp_path / "list.txt").write_text("great white shark\r\nclass0\r\n")
    found, classes = ImageFolder(images).splits(SplitFolders(), str(tmp_path / "list.txt"))
    assert classes == ["great white shark", "class0"]
    assert found["test"][0] == ("test/great white shark/000.png", 0)
    (tmp_path / "list.txt").write_text("great white shark\nclass7\n")
    message = refusal(lambda: ImageFolder(images).splits(SplitFolders(), str(tmp_path / "list.txt")), "class7")
    assert "has no images in split 'train', though" in message


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"test": "validation"}, "splits.validation is 'validation', as test is; expected different splits"),
        ({"validation": "train"}, "splits.train is 'train', as validation is; expected different splits"),
        ({"test": "a/b"}, "splits.test is 'a/b'; expected the name of a split"),
        ({"train": ".."}, "splits.train is '..'"),
        ({"train": " "}, "splits.train is ' '"),
    ],
)
def test_splits_are_different_folders(splits, message):
    from dεps.core.schema import structured

    data = {"name": "n", "source": "image_folder", "root": "x", "image_size": 28, "channels": 1, "splits": splits}
    assert message in refusal(lambda: structured(DatasetConfig, data, "dataset"), "dataset.splits")
