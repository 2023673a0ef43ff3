"""docs/python_api.md: its program runs, and what it says of the results holds."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import dεps
from dεps.core.errors import UserError
from dεps.data.config import AugmentConfig
from dεps.data.splits import PreparedData
from dεps.methods import registry
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from tests.conftest import ROOT

PAGE = (ROOT / "docs/python_api.md").read_text()


def program() -> str:
    """All blocks of the page, one after the other."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_page_is_a_program_whose_numbers_are_sensible(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program(), "python_api.md", "exec"), names)
    chance = 100 / 8
    assert min(names["small"], names["large"], names["reported"]) > 4 * chance
    assert names["large"] > 70
    records = names["trainer"].history
    assert [record["phase"] for record in records] == ["full model", "full model", "shrinking", "shrinking"]
    assert (names["small"], names["large"]) == tuple(
        records[-1][f"val/{name}_top1"] for name in ("smallest", "largest")
    )
    assert str(names["smallest"]) in PAGE

    assert torch.allclose(names["inside"], names["outside"], atol=1e-5)
    assert names["inside"].std() > 0.01

    data, net = names["data"], names["net"]
    pixels, labels = data.validation.images, data.validation.labels
    mean, std = (torch.tensor(data.manifest[key]) for key in ("mean", "std"))
    with torch.no_grad():
        logits = names["subnet"](((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
    assert 100 * float((logits.argmax(1) == labels).double().mean()) == pytest.approx(names["small"], abs=0.5)

    found = names["found"]
    assert 1 <= len(found) <= 4
    assert [one.macs for one in found] == sorted(one.macs for one in found)
    assert all(one.arch in net.choices and abs(one.top1 - one.predicted_top1) < 20 for one in found)
    assert max(one.top1 for one in found) > 70

    assert dεps.accuracies(names["again"], [names["best"]], data, [data.test]) == [[names["reported"]]]
    assert names["again"].choices == net.choices
    assert names["check"].same
    assert names["check"].images == 400
    assert {path.name for path in tmp_path.iterdir()} == {"waves.safetensors", "waves.onnx"}
    # Printed text that the page quotes in a comment.
    printed = capsys.readouterr().out
    for line in re.findall(r"print\(\w+\)  # (.*?)(?::.*)?$", PAGE, re.MULTILINE):
        assert line in printed


def arrays_of(data: PreparedData) -> dict:
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    return {name: (split.images.numpy(), split.labels.numpy()) for name, split in splits.items()}


CONFIG = TrainConfig(epochs=1, batch_size=32, validate_recalibration=40, augment=AugmentConfig(flip=False))


def test_arrays_train_to_the_bits_of_prepared_data(data, micro):
    method = registry.build({"method": "rss"}, "rss", CONFIG.setup(micro, data))
    trainers = [
        Trainer(micro, data, CONFIG, method, seed=3),
        dεps.Trainer(micro, PreparedData.from_arrays(**arrays_of(data)), CONFIG, dεps.method("rss"), seed=3),
    ]
    first, second = ([*trainer.run()] for trainer in trainers)
    assert first == second
    states = [trainer.net.state_dict() for trainer in trainers]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dep", {}, r"^method is 'dep'; allowed: .*\bbignas, .*\bdeps, "),
        ("deps", {"shrink": 1}, r"^method\('deps'\)\.shrink is no known key; allowed: "),
        ("deps", {"shrink_start": 2.0}, r"^method\('deps'\)\.shrink_start is 2\.0; expected "),
    ],
)
def test_a_method_is_checked_when_it_is_named(name, options, message):
    with pytest.raises(UserError, match=message):
        dεps.method(name, **options)


def test_a_trainer_refuses_images_of_another_size(data, micro):
    space = dεps.load_space("mbv3_micro", resolution=[32])
    message = r"^space\.resolution is \[32\], images are 28×28 pixels; the largest must be their side$"
    with pytest.raises(UserError, match=message):
        dεps.Trainer(space, data, CONFIG, dεps.method("deps"))


def test_a_space_may_be_changed_and_is_checked():
    assert dεps.load_space("mbv3_micro", resolution=[24, 32]).resolution == [24, 32]
    with pytest.raises(UserError, match=r"^space mbv3_micro\.resolution is \[32, 24\]; expected "):
        dεps.load_space("mbv3_micro", resolution=[32, 24])
    with pytest.raises(UserError, match=r"^space mbv3_micro\.size is no known key"):
        dεps.load_space("mbv3_micro", size=32)
    with pytest.raises(UserError, match=r"^space is 'micro'; allowed: "):
        dεps.load_space("micro")


def test_net_arch_and_data_must_fit(data, micro):
    net, other = dεps.Supernet(micro, 4, channels=1), dεps.load_space("mbv3_224").largest()
    for call in (
        lambda arch: dεps.extract(net, arch),
        lambda arch: dεps.recalibrated(net, arch, data),
        lambda arch: dεps.accuracies(net, [arch], data, [data.validation]),
    ):
        with pytest.raises(UserError, match=r"^'smallest' is a str; expected an Arch, such as space"):
            call("smallest")
        with pytest.raises(UserError, match=f"^{other} is no arch of the space mbv3_micro; expected one such as k3e2_"):
            call(other)
    for wrong, message in (
        (dεps.Supernet(micro, 5, channels=1), "5 classes, the data .* has 4; expected the same"),
        (dεps.Supernet(micro, 4, channels=3), "3 input channels, the data .* has 1; expected the same"),
    ):
        with pytest.raises(UserError, match=f"^the supernet has {message}"):
            dεps.accuracies(wrong, [micro.largest()], data, [data.validation])


def test_accuracies_do_not_depend_on_where_images_lie(data, micro):
    net = dεps.Supernet(micro, 4, channels=1, seed=1)
    archs = [micro.smallest(), micro.largest()]
    own = PreparedData.from_arrays(**arrays_of(data))
    found = dεps.accuracies(net, archs, data, [data.validation, data.test])
    assert np.shape(found) == (2, 2)
    assert dεps.accuracies(net, archs, own, [own.validation, own.test]) == found


def test_a_subnet_is_saved_by_its_suffix(data, micro, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = dεps.Supernet(micro, 4, channels=1, seed=1)
    check = dεps.save_subnet(net, micro.smallest(), data, "net.safetensors", method="deps", seed=7)
    assert check.same
    from dεps.deploy.export.formats import load_model

    plain, card = load_model(Path("net.safetensors"))
    assert (card.experiment, card.method, card.seed, card.classes) == ("drawn", "deps", 7, data.classes)
    assert card.val_top1 == round(dεps.accuracies(net, [micro.smallest()], data, [data.validation])[0][0], 4)
    images = torch.rand(3, 1, 28, 28)
    with torch.no_grad():
        assert torch.allclose(plain(images), dεps.recalibrated(net, micro.smallest(), data)(images), atol=1e-5)
    formats = r"\.onnx, \.pt2, \.safetensors, \.tflite"
    with pytest.raises(UserError, match=rf"^net\.exe has no suffix of a format; expected .* {formats}$"):
        dεps.save_subnet(net, micro.smallest(), data, "net.exe")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_search_needs_archs_enough(data, micro):
    small = micro.restrict(depth=[3], kernel=[5])
    net = dεps.Supernet(micro, 4, channels=1, seed=1)
    net.choices = small.restrict(expand=[4])
    with pytest.raises(UserError, match=r"^population is 5; expected 10 or more, for 2 archs a fold$"):
        dεps.search_archs(net, data, population=5)
    coupled = dεps.Supernet(micro.couple([3, 5, 3]), 4, channels=1)
    with pytest.raises(UserError, match=r"^the space mbv3_micro is coupled; "):
        dεps.search_archs(coupled, data)


def test_search_finds_a_front_of_what_was_trained(data, micro):
    net = dεps.Supernet(micro, 4, channels=1, seed=1)
    net.choices = micro.restrict(kernel=[5])
    found = dεps.search_archs(net, data, population=20, count=3, seed=2)
    assert found == dεps.search_archs(net, data, population=20, count=3, seed=2)
    assert [one.macs for one in found] == sorted({one.macs for one in found})
    assert all(one.arch in net.choices for one in found)
    tops = dεps.accuracies(net, [one.arch for one in found], data, [data.validation])
    assert [one.top1 for one in found] == [round(top1, 4) for (top1,) in tops]
