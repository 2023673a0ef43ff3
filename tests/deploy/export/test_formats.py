import json
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from dεps.core.errors import UserError
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.formats import CARD, SUFFIXES, load_model, save_model
from dεps.deploy.export.subnet import comparison_batches
from dεps.deploy.onnx import file as onnx_file
from dεps.deploy.onnx.file import _comparison

#: the converter for .tflite is an extra, which the lock has not
LITERT = pytest.mark.skipif(find_spec("litert_torch") is None, reason="needs the extra litert")
FORMATS = [pytest.param(name, marks=LITERT) if name == "litert" else name for name in SUFFIXES]


@pytest.fixture
def saved(tmp_path, subnet, net, data):
    """A function that saves the largest arch in a format, and returns the file and the comparison."""
    plain, card = subnet

    def save(format: str, name: str = "model", card: ModelCard = card):
        path = tmp_path / (name + SUFFIXES[format])
        batches = comparison_batches(net, data, data.validation, net.space.largest(), 1000)
        return path, save_model(format, plain, net.space, card, path, batches)

    return save


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_what_pytorch_computes(saved, data, format):
    path, comparison = saved(format)
    assert comparison.images == len(data.validation) == 48
    assert comparison.same
    assert comparison.torch_top1 == comparison.file_top1
    assert comparison.max_logit_difference < 1e-5
    other, _ = saved(format, "another_name")
    assert path.read_bytes() == other.read_bytes()


def test_each_format_says_what_it_is(saved, subnet, net, data):
    card = replace(subnet[1], classes=["Ärmel", "猫", "c", "d"])
    model = onnx.load(saved("onnx", card=card)[0])
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert ModelCard.from_texts(texts, Path("x")) == card
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    with zipfile.ZipFile(saved("torch", card=card)[0]) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(CARD)]
        assert ModelCard.from_texts(json.loads(archive.read(name)), Path("x")) == card
        for name in archive.namelist():
            assert b"site-packages" not in archive.read(name)
            assert not archive.read(name).startswith(b"PK")  # nothing that torch.load would unpickle
    plain, loaded = load_model(saved("safetensors", card=card)[0])
    assert loaded == card
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(plain(images), subnet[0](images))


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_differs_is_not_kept(saved, tmp_path, monkeypatch, format):
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"was not kept: .* differ by"):
        saved(format)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(saved, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_file, "compare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        saved("onnx")
    assert list(tmp_path.iterdir()) == []


def test_comparisons_by_hand():
    own, labels = np.array([[1.0, 2.0], [3.0, 0.0], [1.0, 1.00005]], np.float32), np.array([1, 0, 0])
    same = _comparison(own, own, labels)
    assert (same.same, same.torch_top1, same.file_top1) == (True, round(200 / 3, 4), round(200 / 3, 4))
    tie = _comparison(own, own + np.array([[0, 0], [0, 0], [9e-5, 0]], np.float32), labels)
    assert (tie.different_top1, tie.same, tie.file_top1) == (0, True, 100.0)
    other = _comparison(own, own[:, ::-1], labels)
    assert (other.different_top1, other.same) == (2, False)
    assert not _comparison(own, own * np.nan, labels).same
    assert _comparison(100 * own, own, labels).tolerance == 1e-4 * 30
