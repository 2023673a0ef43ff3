import numpy as np
import pandas as pd
import pytest
import torch

from dεps.core.tensors import read_tensors
from dεps.deploy.export.classes import SHOWN, SIDE, Answers, _small, class_top1, confusion, examples, write_classes
from dεps.workspace.outputs import CLASSES, CONFUSION, EXAMPLES, PICTURES

LABELS, ANSWERS = np.array([0, 0, 1, 1, 1, 3]), np.array([0, 1, 1, 1, 0, 3])


def test_confusion_by_hand():
    assert confusion(LABELS, ANSWERS, 4).tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_a_class_without_images_has_no_accuracy():
    assert class_top1(LABELS, ANSWERS, 4) == [50.0, 66.6667, None, 100.0]


def test_examples_are_the_surest_wrong_ones_then_the_least_sure_right_ones():
    found = examples(LABELS, Answers(ANSWERS, np.array([0.9, 0.6, 0.3, 0.5, 0.8, 0.4])))
    assert found == [4, 1, 2, 5, 3, 0]
    many = np.zeros(100, int)
    answers = Answers(np.arange(100) % 2, np.linspace(0.5, 0.9, 100))
    found = examples(many, answers)
    assert found == [*range(99, 99 - 2 * SHOWN, -2), *range(0, 2 * SHOWN, 2)]


def test_pictures_are_no_larger_than_needed():
    assert _small(torch.zeros(28, 28, 1, dtype=torch.uint8)).shape == (28, 28, 1)
    large = torch.full((224, 112, 3), 7, dtype=torch.uint8)
    assert _small(large).shape == (SIDE, SIDE // 2, 3)
    assert _small(large[..., :1]).unique().tolist() == [7]


def test_what_is_written_adds_up(data, tmp_path):
    """Of the images behind each number, and of the pictures, which are of validation."""
    rng, sizes = np.random.default_rng(0), (len(data.validation), len(data.test))
    both = [Answers(rng.integers(0, 4, size), rng.random(size)) for size in sizes]
    right = [Answers(split.labels.numpy(), np.ones(len(split))) for split in (data.validation, data.test)]
    write_classes(data, {"small": both, "large": right}, tmp_path, pictured="small")
    classes, confused = CLASSES.read(tmp_path), CONFUSION.read(tmp_path)
    assert classes.budget.tolist() == ["small"] * 4 + ["large"] * 4
    assert classes["class"].tolist() == data.classes * 2
    assert classes[classes.budget == "large"].test_top1.tolist() == [100.0] * 4
    for split in ("train", "validation", "test"):
        counts = torch.bincount(getattr(data, split).labels, minlength=4).tolist()
        assert classes[classes.budget == "small"][split].tolist() == counts
    small = classes[classes.budget == "small"]
    top1 = 100 * (both[1].classes == data.test.labels.numpy()).mean()
    assert (small.test_top1 * small.test).sum() / small.test.sum() == pytest.approx(top1, abs=1e-3)
    own = confused[confused.budget == "small"]
    assert own.images.sum() == len(data.test)
    assert own[own.label == own.answer].images.sum() == round(top1 * len(data.test) / 100)
    assert set(confused[confused.budget == "large"].label) == set(data.classes)
    table = EXAMPLES.read(tmp_path)
    pictures = read_tensors(tmp_path / PICTURES, "file", "again")["pictures"]
    assert torch.equal(pictures, data.validation.read(torch.tensor(table.image.tolist())))
    for row in table.itertuples():
        assert row.label == data.classes[data.validation.labels[row.image]]
        assert row.answer == data.classes[both[0].classes[row.image]]
        assert row.right == (row.label == row.answer)
    assert table.right.tolist() == sorted(table.right)
    assert pd.isna(table.file).all() == (data.validation.files is None)
