"""Own operators against torch's in float64, and the way they are built."""

import os
import subprocess
import sys
from functools import partial
from statistics import median

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dεps.core.device import threads
from dεps.core.errors import UserError
from dεps.nets import operators
from dεps.nets.extract import extract
from dεps.nets.layers import ElasticBatchNorm, ElasticDepthwise, activate
from dεps.nets.supernet import Supernet
from tests.conftest import ROOT
from tests.tools.spaces import family_spaces

#: channels (whole vectors, parts of one, odd), height and width (odd, below the kernel, below and above a tile)
SHAPES = [(16, 8, 8), (24, 7, 9), (40, 4, 4), (13, 3, 5), (72, 17, 6), (8, 2, 21), (1, 5, 5), (144, 1, 3)]
ACTS = (None, "relu", "relu6", "h_swish")


def drawn(*size: int, seed: int = 0) -> Tensor:
    x = torch.randn(*size, generator=Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last) if len(size) == 4 else x


def gradients(work, *inputs: Tensor) -> list[Tensor]:
    """Output of `work` and the gradients of its inputs, for a drawn gradient of the output."""
    own = [one.clone().requires_grad_() for one in inputs]
    y = work(*own)
    dy = drawn(*y.shape, seed=9).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, own, dy)]


def off(found: Tensor, expected: Tensor) -> float:
    """Largest difference, as a share of the largest number."""
    assert found.shape == expected.shape
    return float((found.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("stride", (1, 2))
@pytest.mark.parametrize("kernel", (3, 5, 7))
def test_depthwise_convolutions_are_those_of_torch(kernel, stride, shape):
    channels = shape[0]
    x, weight = drawn(5, *shape), drawn(channels, 1, kernel, kernel, seed=1)
    assert operators.fits(x, weight)
    found = gradients(partial(operators.depthwise, stride=stride), x, weight)
    plain = partial(F.conv2d, stride=stride, padding=kernel // 2, groups=channels)
    expected = gradients(plain, x.double(), weight.double())
    assert max(map(off, found, expected)) < 1e-5
    if shape == (24, 7, 9):  # that these would show a mistake: one row of pixels less
        assert off(found[2], gradients(plain, x.double()[:, :, 1:], weight.double())[2]) > 1e-2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("act", ACTS)
def test_batch_normalisation_with_its_activation_is_that_of_torch(act, shape):
    channels = shape[0]
    x = drawn(5, *shape) * (1 + torch.arange(channels).view(-1, 1, 1) % 3) + 4  # a mean far from 0
    x = x.contiguous(memory_format=torch.channels_last)
    affine = [drawn(channels, seed=seed) + 0.5 for seed in (1, 2)]

    def running(kind: torch.dtype) -> list[Tensor]:
        return [(drawn(channels, seed=3) ** 2).to(kind), (drawn(channels, seed=4) ** 2 + 0.1).to(kind)]

    own, theirs = running(torch.float32), running(torch.float64)
    found = gradients(lambda *given: operators.batch_norm(given[0], *own, *given[1:], 0.1, 1e-5, act), x, *affine)

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.batch_norm(x, *theirs, weight, bias, True, 0.1, 1e-5)
        return activate(y, act) if act else y

    expected = gradients(plain, x.double(), *(one.double() for one in affine))
    assert max(map(off, [*found, *own], [*expected, *theirs])) < 1e-5
    assert off(own[0], running(torch.float64)[0]) > 1e-2  # they have moved


def test_variances_of_many_pixels_are_exact_far_from_zero():
    x = (drawn(16, 24, 32, 32) + 300).contiguous(memory_format=torch.channels_last)
    statistics = torch.zeros(24), torch.ones(24)
    operators.batch_norm(x, *statistics, torch.ones(24), torch.zeros(24), 1.0, 1e-5, None)
    assert off(statistics[0], x.double().mean((0, 2, 3))) < 1e-6
    assert off(statistics[1], x.double().var((0, 2, 3))) < 1e-5


@pytest.mark.parametrize("transform", (False, True), ids=("crop", "transform"))
@pytest.mark.parametrize(("channels", "kernel"), [(24, 7), (16, 5), (9, 5), (8, 3)])
def test_elastic_slices_get_the_gradients_of_torch(channels, kernel, transform):
    def trained(native: bool) -> nn.Module:
        layers = nn.Sequential(ElasticDepthwise(24, [3, 5, 7], 1, transform), ElasticBatchNorm(24))
        with torch.no_grad():
            layers[0].weight.copy_(drawn(24, 1, 7, 7, seed=1))
        layers.to(memory_format=torch.channels_last)
        for layer in layers:
            layer.native = native
        for parameter in layers.parameters():
            parameter.grad = torch.zeros_like(parameter)
        x = drawn(6, channels, 10, 11)
        for _ in range(2):  # summed, as over the subnets of a step
            layers[1](layers[0](x, kernel), "h_swish").square().mean().backward()
        return layers

    own, theirs = trained(True), trained(False)
    named = dict(theirs.named_parameters())
    for name, parameter in own.named_parameters():
        assert off(parameter.grad, named[name].grad.double()) < 1e-5, name
    for name, buffer in own.named_buffers():
        assert off(buffer, dict(theirs.named_buffers())[name].double()) < 1e-5
    inside = own[0].weight.grad.clone()
    crop = slice((7 - kernel) // 2, (7 + kernel) // 2)
    assert transform or inside[:channels, :, crop, crop].ne(0).all()
    inside[:channels, :, slice(None) if transform else crop, slice(None) if transform else crop] = 0
    assert not inside.any()
    assert own[1].running_mean[:channels].ne(0).all()
    assert not own[1].running_mean[channels:].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.contiguous(),
        lambda x: x.double(),
        lambda x: x.bfloat16(),
        lambda x: x[:, :, :, ::2],
        lambda x: x[:1, :, :1, :1],
    ],
    ids=["torch's own layout", "float64", "bf16", "strided", "one pixel"],
)
def test_what_does_not_fit_is_for_torch(change):
    x = drawn(4, 24, 8, 8)
    assert operators.fits(x, drawn(24, 1, 3, 3))
    assert not operators.fits(change(x), drawn(24, 1, 3, 3))
    assert not operators.fits(x, drawn(24, 1, 3, 3).double())
    assert not operators.fits(x[0], drawn(24, 1, 3, 3))


def test_nothing_that_is_not_a_number_is_hidden():
    x = drawn(4, 24, 8, 8)
    x[1, 5, 2, 3] = float("nan")
    for act in ACTS:
        y = operators.batch_norm(x, *(torch.ones(24) for _ in range(4)), 0.1, 1e-5, act)
        assert y[:, 5].isnan().all() and not y[:, :5].isnan().any()
    assert operators.depthwise(x, torch.ones(24, 1, 3, 3), 1)[1, 5].isnan().sum() == 9


@pytest.mark.parametrize("channels", (100, 24, 8))
def test_any_number_of_threads_gives_the_same_bits(channels):
    x, weight = drawn(9, channels, 14, 13), drawn(channels, 1, 7, 7, seed=1)
    affine = [drawn(channels, seed=seed) for seed in (2, 3)]

    def all_of_it(count: int) -> list[Tensor]:
        with threads(count):
            running = [torch.zeros(channels), torch.ones(channels)]
            found = [*gradients(partial(operators.depthwise, stride=1), x, weight)]
            found += gradients(
                lambda *given: operators.batch_norm(given[0], *running, *given[1:], 0.1, 1e-5, "relu"), x, *affine
            )
            return found + running

    once = all_of_it(1)
    for count in (1, 2, 3, 5):
        assert all(map(torch.equal, all_of_it(count), once)), count


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_a_whole_net_is_as_near_to_float64_as_with_torch(space):
    def learnt(native: bool, kind: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Summed gradients of two archs, and statistics."""
        net = Supernet(space, 4, 3, seed=1).train().to(kind)
        if native:
            net.use_native_operators()
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for arch in (space.largest(), space.smallest()):
            net(drawn(16, 3, 32, 32).to(kind), arch).square().mean().backward()
        return {name: parameter.grad for name, parameter in net.named_parameters()} | dict(net.named_buffers())

    own, theirs, exact = learnt(True), learnt(False), learnt(False, torch.float64)
    # Deep nets on few pixels multiply rounding, so both are held against float64; ours is the nearer of the two.
    ours, torchs = (median(off(found[key], exact[key]) for key in exact) for found in (own, theirs))
    assert ours < 1e-5 + torchs


def test_what_is_evaluated_is_torchs(micro):
    net = Supernet(micro, 4, 1, seed=1).eval()
    x, arch = drawn(8, 1, 28, 28), micro.largest()
    plain, before = extract(net, arch), net(x, arch)
    net.use_native_operators()
    assert torch.equal(net(x, arch), before)
    own, found = extract(net, arch), [type(module) for module in extract(net, arch).modules()]
    assert found == [type(module) for module in plain.modules()]
    assert torch.equal(own(x), plain(x))


# --- building -----------------------------------------------------------------------------------------------------


@pytest.fixture
def anew(tmp_path, monkeypatch):
    """An empty cache; the library is built again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    operators.build.cache_clear()
    yield tmp_path / "cache" / "deps-workbench"
    operators.build.cache_clear()


def test_without_a_compiler_one_line_says_so(anew, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    expected = (
        r"^train\.operators is 'native', which needs a C\+\+ compiler \(g\+\+ or clang\+\+\); install one or set torch$"
    )
    with pytest.raises(UserError, match=expected):
        operators.build()


def test_a_compiler_that_is_named_and_not_there_is_not_replaced_by_another(anew, monkeypatch):
    monkeypatch.setenv("CXX", "no-such")
    with pytest.raises(UserError, match=r"and CXX is no-such, no command here; expected a C\+\+ compiler$"):
        operators.build()


def test_a_library_that_is_none_is_named(anew):
    path = operators.build()
    path.write_bytes(b"")
    operators._library.cache_clear()
    with pytest.raises(UserError, match=rf"{path.name} cannot be loaded \(.*\); remove it, or set train\.operators to"):
        operators._library()


def test_a_compiler_that_fails_is_quoted(anew, monkeypatch, tmp_path):
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho 'error: no such luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(
        UserError, match=r"broken cannot build operators\.cpp \(error: no such luck\); set it to torch$"
    ):
        operators.build()
    assert list(anew.iterdir()) == []


def test_two_processes_may_build_at_once(anew):
    command = [sys.executable, "-c", "from dεps.nets import operators; print(operators.build())"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate()[0].strip() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert said[0] == said[1] == str(operators.build())
    assert [str(path) for path in anew.iterdir()] == said[:1]


def test_another_source_or_compiler_is_another_library(anew, monkeypatch, tmp_path):
    first = operators.build()
    source = tmp_path / "operators.cpp"
    source.write_text(operators.SOURCE.read_text("utf-8") + "// edited\n")
    monkeypatch.setattr(operators, "SOURCE", source)
    operators.build.cache_clear()
    second = operators.build()
    monkeypatch.setattr(operators, "_processor", lambda: "another")
    operators.build.cache_clear()
    assert len({first, second, operators.build()}) == 3
