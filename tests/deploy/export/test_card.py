from dataclasses import replace
from pathlib import Path

import pytest

from dεps.core.errors import UserError
from dεps.deploy.export.card import ModelCard

CARD = ModelCard(
    experiment="quick",
    method="deps",
    seed=0,
    space="mbv3_micro",
    arch="k3e2_k3e2_k3e2_r28",
    classes=["Ärmel", "猫 / chat", 'quote "'],
    channels=3,
    size=32,
    resolution=28,
    mean=[0.1, 0.2, 0.3],
    std=[0.5, 0.5, 0.25],
    macs=357_488,
    params=31_050,
    data="own",
    data_hash="abc",
    val_top1=80.5,
)
FILE = Path("net.onnx")


def test_it_comes_back_as_it_was():
    texts = CARD.to_texts()
    assert ModelCard.from_texts(texts, FILE) == CARD
    assert "test_top1" not in texts
    assert "猫 / chat" in texts["classes"]
    assert CARD.shape == (3, 28, 28)
    assert (
        "resize the shorter side to 32 (bicubic) and crop the centre to 32; resize to 28 (bilinear"
        in texts["preprocessing"]
    )
    assert "resize to" not in replace(CARD, size=28).preprocessing


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "other"}, "classes and images"),
        ({"classes": "[1"}, "damaged"),
        ({"classes": "[]"}, "classes"),
        ({"classes": "5"}, "classes"),
        ({"channels": "2"}, "channels"),
        ({"std": "[0, 1, 1]"}, "std"),
        ({"mean": "[1]"}, "mean"),
        ({"size": "100000000"}, "size"),
        ({"mean": "[" * 100_000}, "damaged"),
    ],
)
def test_metadata_that_cannot_be(change, named):
    with pytest.raises(UserError, match=r"net\.onnx") as caught:
        ModelCard.from_texts(CARD.to_texts() | change, FILE)
    assert named in str(caught.value)


def test_accuracies_are_said_with_their_standard_errors():
    card = replace(CARD, val_std_error=0.89, val_images=2000, test_top1=79.0, test_std_error=2.88, test_images=200)
    assert card.accuracy("val") == "80.50 ± 0.89 % on validation (2,000 images)"
    assert card.accuracy("test") == "79.00 ± 2.88 % on test (200 images)"
    assert (CARD.accuracy("val"), CARD.accuracy("test")) == ("80.50 % on validation", "")  # of an older version
