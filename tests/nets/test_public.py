"""Checkpoints in the public naming, written here by a mapping of its own: `public_state` knows nothing of ours."""

import argparse
import os
import re
import zipfile
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from dεps.core.errors import UserError
from dεps.nets.files import load_supernet, save_supernet
from dεps.nets.layers import ElasticBatchNorm
from dεps.nets.public import WRAPPERS, describe, export_checkpoint, import_checkpoint, to_public
from dεps.nets.supernet import Supernet
from dεps.spaces.space import families, make_divisible
from tests.conftest import load_space
from tests.tools.spaces import PLAIN

CLASSES = 6
NAMINGS = ("new", "older", "oldest")


def public_shapes(space: str, matrices: bool) -> dict[str, tuple[int, ...]]:
    """Newest public names and shapes as the public networks have them (OFA's OFAMobileNetV3, OFAProxylessNASNets)."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_bn(conv: str, bn: str, *shape: int) -> None:
        shapes[f"{conv}.weight"] = shape
        for kind in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{bn}.{kind}"] = shape[:1]
        shapes[f"{bn}.num_batches_tracked"] = ()

    proxyless = space.startswith("proxyless")
    stem, widths = (32, [24, 40, 80, 96, 192, 320]) if proxyless else (16, [24, 40, 80, 112, 160])
    conv_bn("first_conv.conv", "first_conv.bn", stem, 3, 3, 3)
    for layer, shape in (("depth_conv", (stem, 1, 3, 3)), ("point_linear", (16, stem, 1, 1))):
        conv_bn(f"blocks.0.conv.{layer}.conv", f"blocks.0.conv.{layer}.bn", *shape)
    inputs, index = 16, 1
    for stage, width in enumerate(widths):
        for _ in range(1 if stage == 5 else 4):
            block, mid = f"blocks.{index}.conv", make_divisible(inputs * 6)
            conv_bn(f"{block}.inverted_bottleneck.conv.conv", f"{block}.inverted_bottleneck.bn.bn", mid, inputs, 1, 1)
            conv_bn(f"{block}.depth_conv.conv.conv", f"{block}.depth_conv.bn.bn", mid, 1, 7, 7)
            if matrices:
                shapes[f"{block}.depth_conv.conv.5to3_matrix"] = (9, 9)
                shapes[f"{block}.depth_conv.conv.7to5_matrix"] = (25, 25)
            if not proxyless and stage in (1, 3, 4):
                hidden = make_divisible(mid // 4)
                for layer, out, into in (("reduce", hidden, mid), ("expand", mid, hidden)):
                    shapes[f"{block}.depth_conv.se.fc.{layer}.weight"] = (out, into, 1, 1)
                    shapes[f"{block}.depth_conv.se.fc.{layer}.bias"] = (out,)
            conv_bn(f"{block}.point_linear.conv.conv", f"{block}.point_linear.bn.bn", width, mid, 1, 1)
            inputs, index = width, index + 1
    if proxyless:
        conv_bn("feature_mix_layer.conv", "feature_mix_layer.bn", 1280, 320, 1, 1)
    else:
        conv_bn("final_expand_layer.conv", "final_expand_layer.bn", 960, 160, 1, 1)
        shapes["feature_mix_layer.conv.weight"] = (1280, 960, 1, 1)
    return shapes | {"classifier.linear.weight": (CLASSES, 1280), "classifier.linear.bias": (CLASSES,)}


def public_state(space: str = "mbv3_224", matrices: bool = True, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the newest public names, of a size that keeps features within bounds."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in public_shapes(space, matrices).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1234)
        elif name.endswith("running_var") or (".bn." in name and name.endswith("weight")):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        elif name.endswith("_matrix"):
            state[name] = torch.eye(shape[0]) + 0.2 * torch.randn(shape, generator=generator)
        else:
            fan_in = max(1, torch.Size(shape[1:]).numel())
            state[name] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    return state


def renamed(state: dict[str, torch.Tensor], naming: str) -> dict[str, torch.Tensor]:
    """As older public code names them."""
    if naming == "new":
        return state

    def old(name: str) -> str:
        parts = name.split(".")
        if parts[0] == "blocks":
            parts[2] = "mobile_inverted_conv"
            if naming == "oldest" and parts[4:6] in (["conv", "conv"], ["bn", "bn"]):
                del parts[4]
        return ".".join(parts)

    return {old(name): tensor for name, tensor in state.items()}


def reference_logits(state: dict[str, torch.Tensor], space: str, arch, x: torch.Tensor) -> torch.Tensor:
    """What the public network computes in eval mode, written with plain functions on its own names."""

    proxyless = space.startswith("proxyless")

    def act(y, kind):
        return {"relu": F.relu, "relu6": F.relu6, "h_swish": F.hardswish}[kind](y)

    def bn(y, name):
        c, eps = y.shape[1], BN_EPS[space]
        tensors = [state[f"{name}.{kind}"][:c] for kind in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(y, *tensors, False, 0.0, eps)

    def kernel(name, c, size):
        weight = state[f"{name}.conv.weight"][:c]
        for large, small in ((7, 5), (5, 3)):
            if size <= small:
                weight = weight[:, :, 1:-1, 1:-1]
                if f"{name}.{large}to{small}_matrix" in state:
                    matrix = state[f"{name}.{large}to{small}_matrix"]
                    weight = torch.einsum("oi,cti->cto", matrix, weight.flatten(2)).view(c, 1, small, small)
        return weight

    x = F.conv2d(x, state["first_conv.conv.weight"], None, 2, 1)
    x = act(bn(x, "first_conv.bn"), "relu6" if proxyless else "h_swish")
    y = F.conv2d(x, state["blocks.0.conv.depth_conv.conv.weight"], None, 1, 1, 1, x.shape[1])
    y = act(bn(y, "blocks.0.conv.depth_conv.bn"), "relu6" if proxyless else "relu")
    y = bn(F.conv2d(y, state["blocks.0.conv.point_linear.conv.weight"]), "blocks.0.conv.point_linear.bn")
    x = y if proxyless else x + y
    strides = [2, 2, 2, 1, 2, 1]
    for stage, blocks in enumerate(arch.stages):
        kind = "relu6" if proxyless else ("relu" if stage < 2 else "h_swish")
        for position, choice in enumerate(blocks):
            name, c = f"blocks.{1 + 4 * stage + position}.conv", x.shape[1]
            mid, stride = make_divisible(c * choice.expand), 1 if position else strides[stage]
            y = F.conv2d(x, state[f"{name}.inverted_bottleneck.conv.conv.weight"][:mid])
            y = act(bn(y, f"{name}.inverted_bottleneck.bn.bn"), kind)
            weight = kernel(f"{name}.depth_conv.conv", mid, choice.kernel)
            y = F.conv2d(y, weight, None, stride, choice.kernel // 2, 1, mid)
            y = act(bn(y, f"{name}.depth_conv.bn.bn"), kind)
            if not proxyless and stage in (1, 3, 4):
                fc, hidden = f"{name}.depth_conv.se.fc", make_divisible(mid // 4)
                gate = y.mean((2, 3), keepdim=True)
                gate = F.relu(
                    F.conv2d(gate, state[f"{fc}.reduce.weight"][:hidden, :mid], state[f"{fc}.reduce.bias"][:hidden])
                )
                gate = F.conv2d(gate, state[f"{fc}.expand.weight"][:mid, :hidden], state[f"{fc}.expand.bias"][:mid])
                y = y * F.relu6(gate + 3) / 6
            y = F.conv2d(y, state[f"{name}.point_linear.conv.conv.weight"][:, :mid])
            y = bn(y, f"{name}.point_linear.bn.bn")
            x = x + y if position else y
    if proxyless:
        x = F.conv2d(x, state["feature_mix_layer.conv.weight"])
        x = F.relu6(bn(x, "feature_mix_layer.bn")).mean((2, 3))
    else:
        x = F.conv2d(x, state["final_expand_layer.conv.weight"])
        x = F.hardswish(bn(x, "final_expand_layer.bn")).mean((2, 3), keepdim=True)
        x = F.hardswish(F.conv2d(x, state["feature_mix_layer.conv.weight"])).flatten(1)
    return F.linear(x, state["classifier.linear.weight"], state["classifier.linear.bias"])


#: as the public networks have it by default
BN_EPS = {"mbv3_224": 1e-5, "proxyless_224": 1e-3}


@pytest.fixture(scope="module")
def mbv3():
    return load_space("mbv3_224")


def saved(state, path, wrap=True):
    torch.save({"state_dict": state} if wrap else state, path)
    return path


@pytest.mark.parametrize("matrices", [True, False])
@pytest.mark.parametrize("name", ["mbv3_224", "proxyless_224"])
def test_an_imported_network_computes_what_the_public_one_does(name, matrices, tmp_path):
    space, state = load_space(name), public_state(name, matrices)
    imported = import_checkpoint(saved(state, tmp_path / "net.pth"), space)
    net = imported.net.eval()
    assert (net.classes, net.channels, net.kernel_transform) == (CLASSES, 3, matrices)
    assert imported.unused == ()
    assert imported.counters == sum(key.endswith("num_batches_tracked") for key in state)
    # In float64: in float32 rounding alone makes 1e-4 to 1e-3, depending on the CPU.
    net, state = net.double(), {key: tensor.double() for key, tensor in state.items()}
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)).double()
    for seed in range(20):
        arch = space.sample(Random(seed))
        with torch.no_grad():
            expected = reference_logits(state, name, arch, images)
            torch.testing.assert_close(net(images, arch), expected, atol=1e-9, rtol=1e-9)
    assert expected.std() > 0.1


@pytest.mark.parametrize("form", ["wrapped", "bare", "module", "safetensors"])
@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("name", ["mbv3_224", "proxyless_224"])
def test_every_naming_and_form_gives_the_same_network(name, naming, form, tmp_path):
    matrices = form != "bare"
    space, state = load_space(name), public_state(name, matrices)
    expected = import_checkpoint(saved(state, tmp_path / "new.pth"), space)
    other, path = renamed(state, naming), tmp_path / "other"
    if form == "module":
        other = {f"module.{key}": tensor for key, tensor in other.items()}
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(other, path)
    else:
        saved(other, path, wrap=form != "bare")
    found = import_checkpoint(path, space)
    assert (found.unused, found.counters) == ((), expected.counters)
    assert_same(found.net.state_dict(), expected.net.state_dict())


def assert_same(first, second):
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) and first[key].dtype == second[key].dtype for key in first)


def test_the_namings_here_are_those_of_the_public_files():
    keys = {naming: set(renamed(public_state(), naming)) for naming in NAMINGS}
    assert "blocks.1.conv.inverted_bottleneck.conv.conv.weight" in keys["new"]
    assert "blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight" in keys["older"]
    assert "blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.weight" in keys["oldest"]
    assert "blocks.1.mobile_inverted_conv.depth_conv.bn.running_var" in keys["oldest"]
    assert all("blocks.5.mobile_inverted_conv.depth_conv.conv.7to5_matrix" in keys[n] for n in NAMINGS[1:])


@pytest.mark.parametrize(("given", "used"), [(None, 1e-3), (1e-5, 1e-5)])
def test_the_epsilon_of_batch_normalisation_is_as_asked_for(given, used, tmp_path):
    space = load_space("proxyless_224")
    net = import_checkpoint(saved(public_state("proxyless_224"), tmp_path / "net.pth"), space, given).net
    assert {module.eps for module in net.modules() if isinstance(module, ElasticBatchNorm)} == {used}
    save_supernet(net, tmp_path / "net.safetensors")
    assert load_supernet(tmp_path / "net.safetensors").space.bn_eps == used
    bn, x = net.body.stem_bn.eval(), torch.randn(2, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    scale = bn.weight / (bn.running_var + used).sqrt()
    expected = (x - bn.running_mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + bn.bias.view(-1, 1, 1)
    torch.testing.assert_close(bn(x), expected)


@pytest.mark.parametrize("matrices", [True, False])
@pytest.mark.parametrize("name", ["mbv3_224", "proxyless_224"])
def test_round_trips_change_no_bit(name, matrices, tmp_path):
    space, state = load_space(name), public_state(name, matrices)
    net = import_checkpoint(saved(state, tmp_path / "public.pth"), space).net
    export_checkpoint(net, tmp_path / "exported.pth")
    exported = torch.load(tmp_path / "exported.pth", weights_only=True)
    assert list(exported) == ["state_dict"]
    expected = {k: torch.tensor(0) if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    assert exported["state_dict"].keys() == state.keys()
    assert_same({key: exported["state_dict"][key] for key in expected}, expected)
    again = import_checkpoint(tmp_path / "exported.pth", space).net
    assert_same(again.state_dict(), net.state_dict())
    export_checkpoint(again, tmp_path / "elsewhere.pt")
    assert (tmp_path / "elsewhere.pt").read_bytes() == (tmp_path / "exported.pth").read_bytes()


def test_our_own_networks_come_back_unchanged(micro, tmp_path):
    net = Supernet(micro, 7, channels=1, kernel_transform=True, seed=3)
    export_checkpoint(net, tmp_path / "micro.pth")
    back = import_checkpoint(tmp_path / "micro.pth", micro).net
    assert (back.classes, back.channels, back.kernel_transform) == (7, 1, True)
    assert_same(back.state_dict(), net.state_dict())


def test_half_precision_is_widened(micro, tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in to_public(Supernet(micro, 7, 1)).items()}
    net = import_checkpoint(saved(state, tmp_path / "half.pth"), micro).net
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float32}
    assert torch.equal(net.classifier.weight, state["classifier.linear.weight"].float())


def refused(path, space) -> str:
    with pytest.raises(UserError) as caught:
        import_checkpoint(path, space)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


DEPTHWISE = "blocks.7.conv.depth_conv.conv.conv.weight"


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        (DEPTHWISE, (240, 1, 5, 5), f": {DEPTHWISE} has shape 240×1×5×5; the space mbv3_224 needs 240×1×7×7"),
        ("first_conv.bn.bias", (), ": first_conv.bn.bias has shape (); the space mbv3_224 needs 16"),
        ("first_conv.conv.weight", (16,), ": first_conv.conv.weight has shape 16; expected 16×channels×3×3"),
        ("first_conv.conv.weight", (8, 3, 3, 3), ": first_conv.conv.weight has shape 8×3×3×3; the space mbv3_224 "),
        ("classifier.linear.weight", (0, 1280), ": classifier.linear.weight has shape 0×1280; expected classes×1280"),
        ("classifier.linear.bias", (9,), ": classifier.linear.bias has shape 9; the space mbv3_224 needs 6"),
        (
            "blocks.2.conv.depth_conv.conv.7to5_matrix",
            (9, 9),
            ": blocks.2.conv.depth_conv.conv.7to5_matrix has shape 9×9; the space mbv3_224 needs 25×25",
        ),
        ("blocks.5.conv.depth_conv.se.fc.reduce.bias", (3,), ".reduce.bias has shape 3; the space mbv3_224 needs 40"),
    ],
)
def test_wrong_shapes_are_named(mbv3, tmp_path, key, shape, message):
    path = saved(public_state() | {key: torch.zeros(shape)}, tmp_path / "net.pth")
    assert message in refused(path, mbv3)


def test_wrong_shapes_are_named_as_the_file_does(mbv3, tmp_path):
    state = renamed(public_state(), "oldest")
    key = "blocks.7.mobile_inverted_conv.depth_conv.conv.weight"
    path = saved(state | {key: torch.zeros(240, 1, 5, 5)}, tmp_path / "net.pth")
    assert f": {key} has shape 240×1×5×5; " in refused(path, mbv3)


@pytest.mark.parametrize(
    ("key", "needed"),
    [
        (DEPTHWISE, "; the space mbv3_224 needs it, of shape 240×1×7×7"),
        ("blocks.3.conv.depth_conv.conv.5to3_matrix", "; the space mbv3_224 needs it, of shape 9×9"),
        ("classifier.linear.weight", "; expected one of shape classes×1280"),
        ("first_conv.conv.weight", "; expected one of shape 16×channels×3×3"),
        ("final_expand_layer.bn.running_mean", "; the space mbv3_224 needs it, of shape 960"),
    ],
)
def test_missing_keys_are_named(mbv3, tmp_path, key, needed):
    state = public_state()
    del state[key]
    assert refused(saved(state, tmp_path / "net.pth"), mbv3) == f" has no {key}{needed}"


def test_a_checkpoint_of_another_space_is_refused(tmp_path, mbv3):
    path = saved(public_state("proxyless_224"), tmp_path / "net.pth")
    assert "has no blocks.5.conv.depth_conv.se.fc.reduce.weight (and " in refused(path, mbv3)


def test_unknown_keys_are_reported(micro, tmp_path):
    state = to_public(Supernet(micro, 7, 1)) | {"blocks.99.conv.x": torch.zeros(2), "note": "text"}
    torch.save({"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "net.pth")
    imported = import_checkpoint(tmp_path / "net.pth", micro)
    assert imported.unused == ("blocks.99.conv.x", "epoch", "optimizer", "note")


def test_two_names_of_one_tensor_are_refused(micro, tmp_path):
    state = to_public(Supernet(micro, 7, 1))
    state["module.classifier.linear.bias"] = state["classifier.linear.bias"]
    message = refused(saved(state, tmp_path / "net.pth"), micro)
    assert message == (
        " holds classifier.linear.bias and module.classifier.linear.bias, two names of one tensor; keep one"
    )


def test_weights_must_be_floating_point(micro, tmp_path):
    state = to_public(Supernet(micro, 7, 1))
    state["classifier.linear.bias"] = torch.zeros(7, dtype=torch.int8)
    assert ": classifier.linear.bias is torch.int8" in refused(saved(state, tmp_path / "net.pth"), micro)


def small(micro) -> dict[str, torch.Tensor]:
    return to_public(Supernet(micro, 7, 1, seed=5))


SCALARS = {
    "best_acc": np.float64(71.25),
    "acc5": np.float32(90.5),
    "epoch": np.int64(149),
    "flag": np.bool_(True),
    "name": np.str_("net"),
    "best_epoch": np.int16(120),
    "steps": np.uint64(7),
    "spectrum": np.complex64(1j),
    "args": argparse.Namespace(lr=0.1),
    "history": [np.float64(1.5), {"lr": np.float32(0.1)}],
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("numpy", [1, 2])
def test_numpy_scalars_of_public_trainers_are_read(micro, tmp_path, zipped, numpy):
    path = tmp_path / "net.pth.tar"
    torch.save({"state_dict": small(micro), **SCALARS}, path, _use_new_zipfile_serialization=zipped)
    if numpy == 1:  # names the module as it was called then
        content = path.read_bytes()
        assert b"numpy._core.multiarray" in content
        if not zipped:
            path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        else:
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "old", "w") as new:
                for entry in old.infolist():
                    data = old.read(entry).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
                    new.writestr(entry.filename, data)
            (tmp_path / "old").rename(path)
        assert b"numpy._core" not in path.read_bytes()
    imported = import_checkpoint(path, micro)
    assert_same(imported.net.state_dict(), Supernet(micro, 7, 1, seed=5).state_dict())
    assert imported.unused == tuple(SCALARS)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."]
)
@pytest.mark.parametrize("wrapper", [*WRAPPERS, "model/state_dict", "ema/model"])
def test_wrappers_and_prefixes_of_public_trainers(micro, tmp_path, wrapper, prefix):
    content = {f"{prefix}{key}": tensor for key, tensor in small(micro).items()}
    for name in reversed(wrapper.split("/")):
        content = {name: content, "epoch": 3}
    torch.save(content, tmp_path / "net.pth")
    imported = import_checkpoint(tmp_path / "net.pth", micro)
    assert_same(imported.net.state_dict(), Supernet(micro, 7, 1, seed=5).state_dict())
    assert imported.taken == ""


def test_which_of_several_state_dicts_is_taken_is_said(micro, tmp_path):
    other = to_public(Supernet(micro, 7, 1, seed=6))
    torch.save({"ema": other, "state_dict_ema": other, "state_dict": small(micro)}, tmp_path / "net.pth")
    imported = import_checkpoint(tmp_path / "net.pth", micro)
    assert_same(imported.net.state_dict(), Supernet(micro, 7, 1, seed=5).state_dict())
    assert "; taken: state_dict (not state_dict_ema, ema); not used: " in describe(imported)


@pytest.mark.parametrize(
    ("other", "protocol", "reason"),
    [
        (
            np.datetime64("2020-01-01"),
            2,
            r"holds more than tensors \(numpy\.dtypes\.DateTime64DType\), which is not loaded",
        ),
        (0, 4, "not pickled as torch.save does by itself"),
    ],
)
def test_what_is_not_read_of_a_checkpoint_is_no_damage(micro, tmp_path, other, protocol, reason):
    torch.save({"state_dict": small(micro), "when": other}, tmp_path / "net.pth", pickle_protocol=protocol)
    assert re.search(reason, refused(tmp_path / "net.pth", micro))


def test_a_mapping_inside_itself_is_no_endless_loop(micro, tmp_path):
    content = {"epoch": 1}
    content["model"] = content["state_dict"] = content
    torch.save(content, tmp_path / "net.pth")
    assert refused(tmp_path / "net.pth", micro).startswith(" holds no state dict")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_that_are_not_finite_are_refused(micro, tmp_path, suffix, value):
    state, path = small(micro), tmp_path / f"net.{suffix}"
    state["first_conv.bn.running_var"] = state["first_conv.bn.running_var"].double()
    state["first_conv.bn.running_var"][0] = value  # 1e300 is infinite as float32
    save_file(state, path) if suffix == "safetensors" else saved(state, path)
    assert refused(path, micro).startswith(": first_conv.bn.running_var has numbers that are not finite; ")


class Malicious:
    """Unpickling this makes a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(micro, tmp_path, zipped):
    state = to_public(Supernet(micro, 7, 1)) | {"extra": Malicious(tmp_path / "trace")}
    torch.save({"state_dict": state}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    message = refused(tmp_path / "net.pth", micro)
    assert message.startswith(" holds more than tensors (posix.mkdir), which is not loaded; ")
    assert not (tmp_path / "trace").exists()
    torch.load(tmp_path / "net.pth", weights_only=False)  # it would have been
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint at all, but some text", b"\x80\x04\x95", b"PK\x03\x04" + 9 * b"x"]
)
def test_damaged_files_are_refused(micro, tmp_path, content, suffix):
    path = tmp_path / f"net.{suffix}"
    path.write_bytes(content)
    assert refused(path, micro).endswith(("; fetch it again", "; fetch or save it again"))


@pytest.mark.parametrize("keep", [0.01, 0.05, 0.2, 0.9, 0.999])
def test_truncated_files_are_refused(micro, tmp_path, keep):
    path = saved(to_public(Supernet(micro, 7, 1)), tmp_path / "net.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert refused(path, micro).endswith("; fetch it again")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(2), {"state_dict": {"epoch": 3}}])
def test_files_without_a_state_dict_are_refused(micro, tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    assert refused(tmp_path / "net.pth", micro).startswith(" holds no state dict")


def test_a_missing_file_is_named(micro, tmp_path):
    assert refused(tmp_path / "none", micro) == " cannot be read (No such file or directory)"
    assert refused(tmp_path / "none.safetensors", micro).startswith(" cannot be read (")
    assert refused(tmp_path, micro) == " cannot be read (Is a directory)"
    for name in ("pipe.pth", "pipe.safetensors"):
        os.mkfifo(tmp_path / name)
        assert refused(tmp_path / name, micro) == " is no file, but a pipe or a device"


@pytest.mark.parametrize("space", [PLAIN], indirect=True)
def test_families_without_public_names_are_refused(space, tmp_path):
    known = ", ".join(families("public"))
    with pytest.raises(UserError) as caught:
        import_checkpoint(tmp_path / "none.pth", space)
    assert str(caught.value) == (
        f"the space plain_28 is of the family plain; there are names of public checkpoints for: {known}"
    )
    with pytest.raises(UserError, match="is of the family plain"):
        export_checkpoint(Supernet(space, 2), tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())
