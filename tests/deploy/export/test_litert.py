import io
import json
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.deploy.export.classify import load
from dεps.deploy.export.formats import save_model
from dεps.deploy.export.litert import CARD, load_litert
from dεps.deploy.export.subnet import comparison_batches

LITERT = pytest.mark.skipif(find_spec("litert_torch") is None, reason="needs the extra litert")


@LITERT
def test_a_file_has_its_card_and_answers_as_pytorch(tmp_path, subnet, net, data):
    plain, card = subnet
    path = tmp_path / "model.tflite"
    batches = comparison_batches(net, data, data.validation, net.space.largest(), 1000)
    found = save_model("litert", plain, net.space, card, path, batches)
    assert found.same and found.images == 48
    with zipfile.ZipFile(path) as archive:  # as unzip reads it
        assert archive.namelist() == [CARD]
    run, own = load(path)
    assert own == card
    images = torch.rand(3, 1, 28, 28)
    assert np.abs(run(images.numpy()) - plain(images).detach().numpy()).max() < 1e-5


def test_without_the_extra_the_line_says_how_to_get_it(tmp_path, subnet, net, monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"needs the package litert-torch; run: pip install 'deps-workbench\[litert\]'"):
        save_model("litert", subnet[0], net.space, subnet[1], tmp_path / "model.tflite", [])
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "other.tflite"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(CARD, json.dumps(subnet[1].to_texts()))
    with pytest.raises(UserError, match="needs the package ai-edge-litert"):
        load_litert(path)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "holds no card.json; expected a model that 'deps export' wrote"),
        ("[1]", "card.json is no mapping of texts"),
        ("{", "holds no card.json"),
        ("{}", "says nothing about classes and images"),
    ],
)
def test_files_of_others_are_refused(tmp_path, monkeypatch, card, message):
    monkeypatch.chdir(tmp_path)
    content = io.BytesIO(b"TFL3")
    if card is not None:
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(CARD, card)
    (tmp_path / "other.tflite").write_bytes(content.getvalue())
    (tmp_path / "a.png").touch()
    result = CliRunner().invoke(main, ["classify", "other.tflite", "a.png"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr
