"""Data from arrays in memory: the same as prepared from files, and refused where anything could be lost."""

import numpy as np
import pytest
import torch

from dεps.core.errors import UserError
from dεps.data.splits import PreparedData

CLASSES = 3


def pair(images: int = 12, size: int = 16, channels: int | None = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    shape = (images, size, size) if channels is None else (images, size, size, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return pixels, np.arange(images) % CLASSES


def others() -> dict:
    return {"validation": pair(6, seed=1), "test": pair(6, seed=2)}


def test_arrays_are_what_prepare_writes(data):
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    pairs = {name: (split.images.numpy(), split.labels.numpy()) for name, split in splits.items()}
    found = PreparedData.from_arrays(**pairs, classes=data.classes, name=data.manifest["name"])
    for name, split in splits.items():
        own = getattr(found, name)
        assert torch.equal(own.images, split.images)
        assert torch.equal(own.labels, split.labels)
        assert (own.size, own.channels, own.classes, own.files) == (28, 1, 4, None)
    assert {**found.manifest, "source": 0, "params": 0} == {**data.manifest, "source": 0, "params": 0}
    assert (found.classes, found.channels) == (data.classes, 1)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda array: np.asfortranarray(array)])
def test_orders_of_axes_and_kinds_of_arrays_give_the_same(kind):
    images, labels = pair()
    expected = PreparedData.from_arrays((images, labels), **others())
    for form in (images, images.transpose(0, 3, 1, 2)):
        found = PreparedData.from_arrays((kind(form), kind(labels.astype(np.uint8))), **others())
        assert torch.equal(found.train.images, torch.from_numpy(images))
        assert found.manifest == expected.manifest
    grey, labels = pair(channels=None)
    flat = {name: (value[0][..., 0], value[1]) for name, value in others().items()}
    for form in (grey, grey[..., None], grey[:, None]):
        found = PreparedData.from_arrays((kind(form), list(labels)), **flat)
        assert torch.equal(found.train.images[..., 0], torch.from_numpy(grey))
        assert found.channels == 1


def test_later_changes_of_the_arrays_change_nothing():
    images, labels = pair()
    found = PreparedData.from_arrays((images, labels), **others())
    before = found.train.images.clone(), found.train.labels.clone()
    images[:] = 0
    labels[:] = 0
    assert torch.equal(found.train.images, before[0])
    assert torch.equal(found.train.labels, before[1])


def test_mean_and_std_are_those_of_train():
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[:2, ..., 0] = 255  # half white
    images[..., 1] = 51  # of one value: nothing to scale
    images[0, 0, 0, 2] = 1
    rest = {"validation": pair(3, 8, seed=1)}
    found = PreparedData.from_arrays((images, [0, 1, 2, 0]), **rest, duplicates="allow")
    assert found.manifest["mean"] == [0.5, 0.2, round(1 / 255 / 256, 6)]
    assert found.manifest["std"][:2] == [0.5, 1.0]


def test_classes_have_names_and_test_may_be_missing():
    found = PreparedData.from_arrays(pair(), pair(6, seed=1))
    assert found.classes == ["0", "1", "2"]
    assert found.manifest["images"] == {"train": 12, "validation": 6, "test": 0}
    assert found.manifest["per_class"]["train"] == [4, 4, 4]
    with pytest.raises(UserError, match=r"^the data arrays has no test split; give one to PreparedData\.from_arrays$"):
        _ = found.test
    assert PreparedData.from_arrays(pair(), pair(6, seed=1), classes=["a", "b", "ε"]).classes == ["a", "b", "ε"]


IMAGES, LABELS = pair()
MASKED = np.ma.masked_array(IMAGES, mask=np.zeros(IMAGES.shape, bool))
NAN = np.where(np.arange(12) == 5, np.nan, LABELS)
WIDE = np.zeros((12, 16, 20, 3), np.uint8)
REFUSED = {
    "no pair": ({"train": IMAGES}, "train is a ndarray; expected a pair (images, labels)"),
    "three": ({"train": (IMAGES, LABELS, 1)}, "train is a tuple; expected a pair (images, labels)"),
    "floats": ({"train": (IMAGES / 255, LABELS)}, "train images are float64; expected uint8, whose 255 is white"),
    "signed": ({"train": (IMAGES.astype(np.int16), LABELS)}, "train images are int16; expected uint8"),
    "tensor of floats": ({"train": (torch.rand(12, 3, 16, 16), LABELS)}, "train images are float32; expected uint8"),
    "bfloat16": ({"train": (torch.rand(12, 3, 16, 16).bfloat16(), LABELS)}, "train images are float"),
    "objects": ({"train": ([object()] * 12, LABELS)}, "train images are object; expected uint8"),
    "ragged": ({"train": ([[1], [1, 2]], LABELS)}, "train images are no array ("),
    "masked": ({"train": (MASKED, LABELS)}, "train images are a masked array, whose mask would be lost"),
    "two axes": ({"train": (IMAGES[..., 0, 0], LABELS)}, "train images have the shape 12×16; expected (n, size, size)"),
    "four channels": (
        {"train": (np.zeros((12, 16, 16, 4), np.uint8), LABELS)},
        "train images have the shape 12×16×16×4; expected (n, size, size), (n, size, size, channels) or (n, channels",
    ),
    "no squares": (
        {"train": (WIDE, LABELS)},
        "train images are 16×20 pixels (shape 12×16×20×3); expected squares of 8",
    ),
    "tiny": ({"train": (IMAGES[:, :4, :4], LABELS)}, "train images are 4×4 pixels (shape 12×4×4×3); expected squares"),
    "none": ({"test": (IMAGES[:0], LABELS[:0])}, "test images are none (shape 0×16×16×3); expected at least one"),
    "labels of floats": ({"train": (IMAGES, LABELS.astype(float))}, "train labels are float64; expected whole numbers"),
    "NaN": ({"train": (IMAGES, NAN)}, "train labels are float64; expected whole numbers"),
    "switches": ({"train": (IMAGES, LABELS > 0)}, "train labels are bool; expected whole numbers"),
    "words": ({"train": (IMAGES, ["cat"] * 12)}, "train labels are <U3; expected whole numbers"),
    "one-hot": (
        {"train": (IMAGES, np.eye(3, dtype=int)[LABELS])},
        "train labels have the shape 12×3; expected 12, one class number for each image",
    ),
    "too few labels": ({"train": (IMAGES, LABELS[:-1])}, "train labels have the shape 11; expected 12"),
    "no labels": ({"train": (IMAGES, 3)}, "train labels have the shape none; expected 12"),
    "negative": ({"train": (IMAGES, LABELS - 1)}, "arrays: 'train/0' has the label -1; expected 0 to 1"),
    "huge": (
        {"train": (IMAGES, np.full(12, 2**64 - 1, np.uint64))},
        "train labels hold 18446744073709551615; expected class numbers from 0",
    ),
    "unknown class": (
        {"validation": (IMAGES[:3], np.array([0, 1, 7]))},
        "arrays: 'validation/2' has the label 7; expected 0 to 2",
    ),
    "more than named": ({"classes": ["a", "b"]}, "arrays: 'train/2' has the label 2; expected 0 to 1"),
    "not in train": ({"classes": ["a", "b", "c", "d", "e"]}, "arrays: class 'd' has no images in train"),
    "gap": ({"train": (IMAGES, LABELS * 2)}, "arrays: class '1' has no images in train"),
    "far": (
        {"train": (IMAGES, LABELS * 2**60)},
        "arrays: 'train/1' has the label 1152921504606846976; expected 0 to 12",
    ),
    "one class": ({"train": (IMAGES, LABELS * 0), "classes": ["a"]}, "arrays: 1 classes ['a']; expected two or more"),
    "names twice": (
        {"classes": ["a", "b", "a"]},
        "arrays: 3 classes ['a', 'b', 'a']; expected two or more, all named differently",
    ),
    "names of numbers": ({"classes": [0, 1, 2]}, "classes are [0, 1, 2]; expected texts"),
    "no label": ({"name": " "}, "DatasetConfig.name is ' '; expected a label for tables"),
    "another size": (
        {"validation": pair(6, 20, seed=1)},
        "validation images have 20×20 pixels and 3 channels; expected those of train, 16×16 pixels and 3 channels",
    ),
    "another colour": (
        {"test": (IMAGES[:6, ..., 0], LABELS[:6])},
        "test images have 16×16 pixels and 1 channel; expected those of train, 16×16 pixels and 3 channels",
    ),
    "shared": (
        {"validation": (IMAGES[3:5], LABELS[3:5])},
        "arrays: 2 images are in two splits, such as 'train/3' and 'validation/0'; remove one of each, or set",
    ),
    "a slip of the pen": ({"duplicates": "alow"}, "duplicates is 'alow'; allowed: error, allow"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_be_lost_is_refused_in_one_line(case):
    values, message = REFUSED[case]
    with pytest.raises(UserError) as caught:
        PreparedData.from_arrays(**{"train": (IMAGES, LABELS), **others(), **values})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_copies_may_be_allowed():
    found = PreparedData.from_arrays(pair(), pair(), duplicates="allow")
    assert found.manifest["shared_images"] == 12
