import shutil

import numpy as np
import pytest

from dεps.core.errors import UserError
from dεps.data.config import DatasetConfig, SplitFolders
from dεps.sources.fashion_mnist_mini import CLASSES, FOLDER, read
from dεps.sources.registry import source_of


def test_the_embedded_images_are_balanced_and_small():
    arrays = read()
    assert {split: len(labels) for split, (_, labels) in arrays.items()} == {
        "train": 7000,
        "validation": 1000,
        "test": 2000,
    }
    assert all((np.bincount(labels) == len(labels) // 10).all() for _, labels in arrays.values())
    assert len(CLASSES) == 10
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 5_000_000


def test_a_changed_embedded_file_is_noticed(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "mini")
    path = tmp_path / "mini/validation.png"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"validation\.png is damaged"):
        read(tmp_path / "mini")


@pytest.mark.parametrize(
    ("key", "value"), [("classes", "list.txt"), ("splits", SplitFolders("train", None, "test")), ("options", {"a": 1})]
)
def test_keys_that_would_do_nothing_are_refused(key, value):
    config = DatasetConfig("mini", "fashion_mnist_mini", 28, 1, **{key: value})
    with pytest.raises(UserError, match=rf"^experiments\.e\.dataset\.{key}"):
        source_of(config, "experiments.e.dataset")
