"""Damaged data, archives and networks are refused in one line that names the file."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from dεps.core.errors import UserError
from dεps.data import folder
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.data.folder import ImageFolder
from dεps.data.splits import PreparedData
from dεps.nets.files import load_supernet, save_supernet
from dεps.nets.public import export_checkpoint, import_checkpoint
from dεps.nets.supernet import Supernet
from dεps.sources.prepare import prepare
from dεps.spaces.space import SearchSpace
from dεps.training.snapshot import Snapshot, load_snapshot, write_snapshot
from tests.conftest import draw_image_folder
from tests.tools.accidents import ACCIDENTS, cut, empty, flip, text
from tests.tools.refusals import assert_one_line, refusal

Damage = Callable[[Path], object]


# --- prepared data ---------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(data: PreparedData, tmp_path: Path) -> PreparedData:
    """Prepared data to be damaged."""
    shutil.copytree(data.folder, tmp_path / "prepared")
    return PreparedData(tmp_path / "prepared", data.config)


MANIFEST = [
    "size",
    "crop",
    "channels",
    "classes",
    "images",
    "mean",
    "std",
    "sha256",
    "name",
    "form",
    "source",
    "params",
]


def read_all(prepared: PreparedData) -> None:
    again = PreparedData(prepared.folder, prepared.config)
    for split in (again.train, again.validation, again.test):
        split.read(torch.tensor([0, len(split) - 1]))


def tensors(change: Callable[[dict], dict]) -> Damage:
    """Other content in a sound file."""
    return lambda path: save_file(change(load_file(path)), path)


OTHER_CONTENT = {
    "no labels": lambda t: {"images": t["images"]},
    "labels of floats": lambda t: t | {"labels": t["labels"].float()},
    "labels of two columns": lambda t: t | {"labels": t["labels"].repeat(2, 1)},
    "a label too large": lambda t: t | {"labels": t["labels"] + 1},
    "a label below 0": lambda t: t | {"labels": t["labels"] - 1},
    "fewer labels": lambda t: t | {"labels": t["labels"][1:]},
    "fewer images": lambda t: t | {"images": t["images"][1:]},
    "no images at all": lambda t: {"images": t["images"][:0], "labels": t["labels"][:0]},
    "images of floats": lambda t: t | {"images": t["images"].float()},
    "images of another size": lambda t: t | {"images": t["images"][:, 1:].contiguous()},
    "images in colour": lambda t: t | {"images": t["images"].repeat(1, 1, 1, 3)},
    "pixels gone": lambda t: {"labels": t["labels"]},
    "tensors of other names": lambda t: {"x": t["images"], "y": t["labels"]},
}


@pytest.mark.parametrize("damage", [*ACCIDENTS, *map(tensors, OTHER_CONTENT.values())])
def test_damaged_splits(prepared, damage):
    damage(path := prepared.folder / "validation.safetensors")
    refusal(lambda: read_all(prepared), "validation.safetensors", "validation.files.txt")
    assert path.parent == prepared.folder


@pytest.mark.parametrize("damage", ACCIDENTS)
def test_damaged_manifests(prepared, damage):
    damage(prepared.folder / "manifest.json")
    refusal(lambda: read_all(prepared), "manifest.json")


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck)
@given(
    key=st.sampled_from([*MANIFEST, None]),
    value=st.sampled_from([None, "x", -1, 0, 10**30, float("nan"), [], {}, [None], [1], [{}], {"train": "x"}, "\n"]),
)
def test_a_manifest_of_other_content(data, tmp_path_factory, key, value):
    if (key, value) in (("name", "x"), ("form", "x"), ("source", "x"), ("mean", [1]), ("std", [1])):
        return  # which could be true
    target = tmp_path_factory.mktemp("manifest")
    for file in data.folder.iterdir():
        (target / file.name).symlink_to(file)
    (target / "manifest.json").unlink()
    manifest = value if key is None else data.manifest | {key: value}
    (target / "manifest.json").write_text(json.dumps(manifest))
    refusal(lambda: read_all(PreparedData(target, data.config)), str(target))


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck)
@given(position=st.integers(0, 200), bit=st.integers(0, 7))
def test_flipped_bits_in_a_header_are_an_error_or_harmless(data, tmp_path_factory, position, bit):
    target = tmp_path_factory.mktemp("flipped") / "prepared"
    shutil.copytree(data.folder, target)
    flip(target / "test.safetensors", position, bit)
    harmless_or_refused(lambda: read_all(PreparedData(target, data.config)), "test.safetensors", "test.files.txt")


def harmless_or_refused(call: Callable[[], object], *names: str) -> bool:
    """Whether it was refused, in one line."""
    try:
        call()
    except UserError as error:
        assert_one_line(str(error), *names)
        return True
    return False


def test_flipped_bits_in_pixels_are_harmless(prepared):
    for position in (-1, -5_000, -20_000):
        flip(prepared.folder / "train.safetensors", position)
    read_all(prepared)


@pytest.mark.parametrize(
    "content", ["", "a.png\n", "\n" * 48, "../../x.png\n" * 48, "train\x85x.png\n" * 48, "no newline" * 48, b"\xff\xfe"]
)
def test_damaged_lists_of_files(drawn, tmp_path, content):
    config = DatasetConfig("drawn", "image_folder", 28, 1, root=str(drawn), in_memory_limit_mb=0)
    prepare(config, tmp_path)
    (tmp_path / "test.files.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    refusal(lambda: read_all(PreparedData(tmp_path, config)), "test.files.txt", str(drawn))


# --- images ----------------------------------------------------------------------------------------------------


def config_of(root: Path, **values: object) -> DatasetConfig:
    return DatasetConfig(
        **{"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, **values}, root=str(root)
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 2 classes to be damaged."""
    return draw_image_folder(tmp_path / "images", {"train": 6, "validation": 2, "test": 2}, classes=2)


def prepared_from(root: Path, tmp_path: Path, **values: object) -> Callable[[], object]:
    (tmp_path / "out").mkdir(exist_ok=True)
    return lambda: prepare(config_of(root, **values), tmp_path / "out")


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


BAD_IMAGES = {
    "a JPEG cut short": saved(noise(), "JPEG")[:900],
    "a PNG cut short": saved(noise(), "PNG")[:5000],
    "no bytes": b"",
    "text": b"<svg></svg>",
    "a PPM": saved(noise(), "PPM"),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "a header alone": saved(noise(), "PNG")[:33],
    "too many pixels": png_of(50_000, 50_000),
    "more pixels than PIL warns of": png_of(10_000, 9_500),
    "no pixels": png_of(0, 0),
    "a line of pixels": png_of(60_000, 1),
    "a compressed text that unpacks to much": saved(noise(8), "PNG")[:33]
    + (lambda d: struct.pack(">I", len(d)) + b"zTXt" + d + struct.pack(">I", zlib.crc32(b"zTXt" + d)))(
        b"k\0\0" + zlib.compress(b"a" * 10**8)
    )
    + saved(noise(8), "PNG")[33:],
}


@pytest.mark.parametrize("what", BAD_IMAGES)
def test_bad_images(images, tmp_path, what):
    path = images / "train/class1/000.png"
    path.write_bytes(BAD_IMAGES[what])
    refusal(prepared_from(images, tmp_path), "train/class1/000.png")
    assert list((tmp_path / "out").iterdir()) == []


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), form=st.sampled_from(["PNG", "JPEG"]))
def test_flipped_bits_in_an_image_are_an_error_or_harmless(tmp_path_factory, position, bit, form):
    root = tmp_path_factory.mktemp("flipped")
    (root / "x.png").write_bytes(saved(noise(16), form))
    flip(root / "x.png", position, bit)
    harmless_or_refused(lambda: ImageFolder(root).read("x.png", 28, 3), "x.png")


def test_folders_that_are_none(images, tmp_path):
    layouts = {
        "no split folders": lambda root: (
            [path.rename(root / path.name) for path in (root / "train").iterdir()]
            and [shutil.rmtree(root / name) for name in ("train", "validation", "test")]
        ),
        "images without classes": lambda root: [
            (shutil.move(path, root / "train"), shutil.rmtree(path.parent))
            for path in [*(root / "train").glob("*/000.png")][:1]
        ],
        "a folder called as an image": lambda root: (root / "train/class0/x.png").mkdir(),
        "a link to nothing": lambda root: (root / "train/class0/x.png").symlink_to("nothing"),
        "one class": lambda root: [shutil.rmtree(path) for path in root.glob("*/class1")],
        "a name of two lines": lambda root: (root / "train/class0/000.png").rename(root / "train/class0/a\nb.png"),
        "a name in no UTF-8": lambda root: (root / "train/class0/000.png").rename(root / "train/class0/\udcff.png"),
        "a name with a NEL": lambda root: (root / "train/class0/000.png").rename(root / "train/class0/a\x85.png"),
        "nothing": lambda root: shutil.rmtree(root / "train"),
    }
    for number, (what, spoil) in enumerate(layouts.items()):
        root = shutil.copytree(images, tmp_path / f"layout{number}")
        spoil(root)
        for limit in (0, 2048):
            message = refusal(prepared_from(root, tmp_path, in_memory_limit_mb=limit), f"layout{number}")
            assert message, what


def test_images_of_one_colour_have_something_to_be_divided_by(images, tmp_path):
    for path in images.rglob("*.png"):
        Image.new("L", (28, 28), 0).save(path)
    assert prepared_from(images, tmp_path, duplicates="allow")()["std"] == [1.0]


@pytest.mark.parametrize("content", [b"", b"class0 class0", b"class0", b"\xff\xfe\x00", b"class0 nowhere", None])
def test_bad_class_lists(images, tmp_path, content):
    if content is not None:
        (tmp_path / "classes.txt").write_bytes(content)
    refusal(prepared_from(images, tmp_path, classes=str(tmp_path / "classes.txt")), "classes.txt", "images")


# --- archives --------------------------------------------------------------------------------------------------


def zipped(root: Path, path: Path, kind: int = zipfile.ZIP_STORED, more: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for file in sorted(root.rglob("*.png")):
            archive.write(file, file.relative_to(root))
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return path


def patch(path: Path, old: bytes, new: bytes, at: int = 0) -> None:
    """Change the bytes `at` behind the first occurrence of `old`."""
    data = bytearray(path.read_bytes())
    start = data.index(old) + at
    data[start : start + len(new)] = new
    path.write_bytes(data)


CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
BAD_ZIPS: dict[str, Damage] = {
    "cut short": cut,
    "empty": empty,
    "text": text,
    "no central directory": lambda path: patch(path, CENTRAL, b"XXXX"),
    "half a central directory": lambda path: path.write_bytes(
        path.read_bytes()[: path.read_bytes().index(CENTRAL) + 90]
    ),
    "the directory lies elsewhere": lambda path: patch(path, END, struct.pack("<I", 2**31), 16),
    "a wrong checksum": lambda path: patch(path, CENTRAL, b"\0\0\0\0", 16),
    "an encrypted entry": lambda path: (patch(path, CENTRAL, b"\x01", 8), patch(path, LOCAL, b"\x01", 6)),
    "an unknown compression": lambda path: (patch(path, CENTRAL, b"\x63", 10), patch(path, LOCAL, b"\x63", 8)),
    "an entry that is not where it should be": lambda path: patch(path, LOCAL, b"XXXX"),
    "an entry of another name": lambda path: patch(path, LOCAL, b"XXXX", 30),
    "a size that is not true": lambda path: patch(path, CENTRAL, struct.pack("<I", 5), 24),
    "a size beyond all images": lambda path: patch(path, CENTRAL, struct.pack("<I", 2**32 - 2), 24),
    "a version from the future": lambda path: patch(path, CENTRAL, b"\xff", 6),
}


@pytest.mark.parametrize("what", BAD_ZIPS)
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_zips(images, tmp_path, what, kind):
    BAD_ZIPS[what](path := zipped(images, tmp_path / "images.zip", kind))
    refusal(prepared_from(path, tmp_path), "images.zip")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_flipped_bits_in_a_zip(images, tmp_path, kind):
    whole = zipped(images, tmp_path / "images.zip", kind).read_bytes()
    refused = 0
    for position in range(31, len(whole), len(whole) // 25):
        (tmp_path / "images.zip").write_bytes(whole)
        flip(tmp_path / "images.zip", position, 3)
        refused += harmless_or_refused(prepared_from(tmp_path / "images.zip", tmp_path), "images.zip")
    assert refused > 10


@pytest.mark.parametrize(
    "name", ["/etc/x.png", "../x.png", "train/../../x.png", "C:\\x.png", "a\nb.png", "train/\x1b[m/x.png"]
)
def test_names_that_lead_elsewhere_or_say_something_else(images, tmp_path, name):
    refusal(prepared_from(zipped(images, tmp_path / "images.zip", more={name: b"x"}), tmp_path), "images.zip")


def test_a_file_that_unpacks_to_much_is_not_read(images, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LARGEST_FILE", 2**20)
    bomb = {"train/class0/bomb.png": b"\0" * 2**24}
    path = zipped(images, tmp_path / "images.zip", zipfile.ZIP_DEFLATED, bomb)
    assert "16 MiB" in refusal(prepared_from(path, tmp_path), "bomb.png")
    (images / "train/class0/large.png").write_bytes(b"\0" * 2**21)
    refusal(prepared_from(images, tmp_path), "large.png")


def test_too_many_entries_are_not_read(images, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MOST_ENTRIES", 10)
    refusal(prepared_from(zipped(images, tmp_path / "images.zip"), tmp_path), "images.zip")


# --- networks and states ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks(micro: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet, a public checkpoint and a training state."""
    target = tmp_path_factory.mktemp("networks")
    net = Supernet(micro, 4, channels=1, kernel_transform=True)
    save_supernet(net, target / "supernet.safetensors")
    export_checkpoint(net, target / "public.pth")
    write_snapshot(target / "state.safetensors", Snapshot({"a": torch.ones(3)}, 1, 2, [{}]))
    return target


READERS = {
    "supernet.safetensors": load_supernet,
    "public.pth": lambda path: import_checkpoint(path, SPACE[0]),
    "state.safetensors": load_snapshot,
}
SPACE: list[SearchSpace] = []


@pytest.mark.parametrize("damage", ACCIDENTS)
@pytest.mark.parametrize("name", READERS)
def test_damaged_networks(networks, micro, tmp_path, name, damage):
    SPACE[:] = [micro]
    path = Path(shutil.copy(networks / name, tmp_path))
    READERS[name](path)
    damage(path)
    refusal(lambda: READERS[name](path), name)


@settings(max_examples=80, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck)
@given(name=st.sampled_from(sorted(READERS)), position=st.integers(0, 4000), bit=st.integers(0, 7))
def test_flipped_bits_in_networks_are_an_error_or_harmless(networks, micro, tmp_path_factory, name, position, bit):
    SPACE[:] = [micro]
    path = Path(shutil.copy(networks / name, tmp_path_factory.mktemp("flipped")))
    flip(path, position, bit)
    harmless_or_refused(lambda: READERS[name](path), name)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 10**9},
        {"classes": -1},
        {"classes": "many"},
        {"channels": 0},
        {"kernel_transform": "maybe"},
        {"extra": 1},
        {"space": None},
        {"space": {}},
        {"choices": {"stages": []}},
        {"space": {"family": "../../etc"}},
    ],
)
def test_descriptions_of_other_networks(networks, tmp_path, change):
    from safetensors import safe_open

    path = networks / "supernet.safetensors"
    with safe_open(path, "pt") as file:
        description = json.loads(file.metadata()["supernet"])
    save_file(load_file(path), tmp_path / "x.safetensors", {"supernet": json.dumps(description | change)})
    refusal(lambda: load_supernet(tmp_path / "x.safetensors"), "x.safetensors")


def test_a_description_of_a_network_too_large_for_its_weights(networks, tmp_path):
    from safetensors import safe_open

    with safe_open(networks / "supernet.safetensors", "pt") as file:
        description = json.loads(file.metadata()["supernet"])
    for stage in description["space"]["stages"]:
        stage |= {"width": 16_384, "depth": [1, 100]}
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"supernet": json.dumps(description)})
    assert "does not fit" in refusal(lambda: load_supernet(tmp_path / "x.safetensors"), "x.safetensors")


class Code:
    """Would run a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_no_code_is_run(micro, tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"state_dict": Code(ran)}))
    torch.save({"state_dict": Code(ran)}, tmp_path / "zip.pth")
    torch.save({"a": Code(ran)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("plain.pth", "zip.pth", "old.pth"):
        refusal(lambda name=name: import_checkpoint(tmp_path / name, micro), name)
    assert not ran.exists()


def test_a_compressed_checkpoint_and_one_of_too_many_classes(networks, micro, tmp_path):
    with (
        zipfile.ZipFile(networks / "public.pth") as old,
        zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, bytes(10**6) if "data/0" in name else old.read(name))
    assert "is compressed" in refusal(lambda: import_checkpoint(tmp_path / "x.pth", micro), "x.pth")
    state = torch.load(networks / "public.pth", weights_only=True)["state_dict"]
    state["classifier.linear.weight"] = torch.zeros(1).expand(10**9, state["classifier.linear.weight"].shape[1])
    torch.save(state, tmp_path / "many.pth")
    assert "1,000,000,000 classes" in refusal(lambda: import_checkpoint(tmp_path / "many.pth", micro), "many.pth")


def test_held_out_splits_need_images(images, tmp_path):
    refusal(prepared_from(images, tmp_path, splits=SplitFolders("train", None, None), holdout=0.01), "images")
