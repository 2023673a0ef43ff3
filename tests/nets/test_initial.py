"""Networks that begin with the weights of a file: what is taken over, to the bit, and what does not fit."""

import re
from dataclasses import replace

import pytest
import torch

from dεps.core.errors import UserError
from dεps.nets.files import save_supernet
from dεps.nets.initial import begin_from
from dεps.nets.public import export_checkpoint
from dεps.nets.supernet import Supernet
from tests.conftest import load_space
from tests.tools.accidents import flip


def net(space, classes=4, transform=False, seed=0, channels=1) -> Supernet:
    """With BN statistics that are nobody's initial ones."""
    made = Supernet(space, classes, channels, transform, seed)
    generator = torch.Generator().manual_seed(seed + 100)
    for name, tensor in made.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return made


def saved(made: Supernet, path):
    save_supernet(made, path)
    return path


def equal(ours: Supernet, theirs: Supernet, but: str = "nothing") -> bool:
    left = {name: tensor for name, tensor in ours.state_dict().items() if but not in name}
    return all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in left.items())


def test_all_weights_and_statistics_are_those_of_the_file(micro, tmp_path):
    theirs, ours = net(micro, seed=1), net(micro, seed=2)
    assert not equal(ours, theirs)
    said = begin_from(ours, saved(theirs, tmp_path / "a.safetensors"))
    assert equal(ours, theirs)
    assert said == f"begins from {tmp_path}/a.safetensors: all weights, those of the classifier for 4 classes too"


def test_a_classifier_of_other_classes_stays_as_the_seed_has_drawn_it(micro, tmp_path):
    theirs, ours, fresh = net(micro, 100, seed=1), net(micro, 10, seed=2), net(micro, 10, seed=2)
    said = begin_from(ours, saved(theirs, tmp_path / "a.safetensors"))
    assert equal(ours, theirs, "classifier")
    assert torch.equal(ours.classifier.weight, fresh.classifier.weight)
    assert torch.equal(ours.classifier.bias, fresh.classifier.bias)
    assert said.endswith(
        "but the classifier's, which is new: " + f"{tmp_path}/a.safetensors has 100 classes, the data 10"
    )


@pytest.mark.parametrize("name", ["public.pth", "public.safetensors"])
def test_a_public_checkpoint_gives_its_weights(tmp_path, name):
    from safetensors.torch import save_file

    from dεps.nets.public import to_public

    space = load_space("mbv3_32")
    theirs, ours = net(space, 7, seed=1, channels=3), net(space, 10, seed=2, channels=3)
    if name.endswith(".pth"):
        export_checkpoint(theirs, tmp_path / name)
    else:
        save_file(to_public(theirs), tmp_path / name)
    assert "has 7 classes, the data 10" in begin_from(ours, tmp_path / name)
    assert equal(ours, theirs, "classifier")


def test_kernel_transformations_are_taken_over_where_both_have_them(micro, tmp_path):
    theirs = net(micro, transform=True, seed=1)
    for name, tensor in theirs.state_dict().items():
        if "transforms" in name:
            tensor.add_(1.0)
    path = saved(theirs, tmp_path / "a.safetensors")
    ours = net(micro, transform=True, seed=2)
    begin_from(ours, path)
    assert equal(ours, theirs)
    without = net(micro, seed=2)
    assert begin_from(without, path).endswith("; its kernel transformations are not used")
    assert equal(without, theirs)
    identity, fresh = net(micro, transform=True, seed=2), net(micro, transform=True, seed=3)
    begin_from(identity, saved(without, tmp_path / "b.safetensors"))
    assert equal(identity, without, "transforms")
    assert all(
        torch.equal(tensor, fresh.state_dict()[name])
        for name, tensor in identity.state_dict().items()
        if "transforms" in name
    )


def test_the_same_weights_serve_other_strides_and_image_sizes_which_is_said(micro, tmp_path):
    stages = [replace(micro.stages[0], stride=1), *micro.stages[1:]]
    other = replace(micro, name="other", resolution=[32], stages=stages)
    ours, theirs = net(other, seed=2), net(micro, seed=1)
    said = begin_from(ours, saved(theirs, tmp_path / "a.safetensors"))
    assert equal(ours, theirs)
    assert said.endswith(f"stages[0].stride is {micro.stages[0].stride} there and 1 here")


def refused(space, path, message: str, classes=4, channels=1) -> None:
    """Refused with that message, and nothing taken over."""
    ours, fresh = net(space, classes, channels=channels), net(space, classes, channels=channels)
    with pytest.raises(UserError, match=message) as caught:
        begin_from(ours, path)
    assert "\n" not in str(caught.value)
    assert equal(ours, fresh)


def test_what_does_not_fit_is_named_with_both_shapes(micro, tmp_path):
    path = saved(net(micro, seed=1), tmp_path / "a.safetensors")
    first, *others = micro.stages
    wider = replace(micro, name="wider", stages=[replace(first, width=first.width + 8), *others])
    there, here = first.width, first.width + 8
    refused(wider, path, rf"^{path}: body\.blocks\.\d+\.\S+ has shape {there}×.*; the space wider needs {here}×")
    deeper = replace(micro, name="deeper", stages=[*micro.stages, micro.stages[-1]])
    refused(deeper, path, rf"^{path} has no body\.blocks\.\d+\..*; the space deeper needs it, of shape \d+×")
    shallower = replace(micro, name="shallower", stages=micro.stages[:-1])
    refused(shallower, path, rf"^{path}.*(the space shallower has no such layer|has shape .*needs)")
    refused(micro, path, r"body\.stem\.weight has shape 8×1×3×3; .* needs 8×3×3×3, for 3 input channels", channels=3)
    act = replace(micro, name="act", stages=[replace(first, act="relu6"), *others])
    refused(act, path, rf"{re.escape('stages[0].act')} {first.act}; expected relu6, as the space act")
    refused(load_space("resnet_28"), path, "is of the family mobilenet; expected resnet_basic")


def test_unsafe_and_damaged_files_are_refused(micro, tmp_path):
    import pickle

    class Runs:
        def __reduce__(self):
            return (print, ("run",))

    (tmp_path / "unsafe.pth").write_bytes(pickle.dumps(Runs()))
    refused(load_space("mbv3_32"), tmp_path / "unsafe.pth", "unsafe.pth", channels=3)
    torch.save({"state_dict": Runs()}, tmp_path / "unsafe.pt")
    refused(load_space("mbv3_32"), tmp_path / "unsafe.pt", "holds more than tensors", channels=3)
    path = saved(net(micro), tmp_path / "a.safetensors")
    flip(path, 3)
    refused(micro, path, str(path))
