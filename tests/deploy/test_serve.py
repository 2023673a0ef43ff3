"""One supernet that serves several subnets: the exported ones' numbers, from any thread, from one file."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import deps
from dεps.core.errors import UserError
from dεps.data.augment import resize
from dεps.data.batches import Normalise
from dεps.deploy import serve
from dεps.deploy.export.subnet import save_subnet
from dεps.deploy.serve import Latencies, Server, runtime, tensor_bytes
from dεps.evaluation.accuracy import Recalibration, accuracies, recalibrated
from dεps.nets.extract import extract, view
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from tests.conftest import ROOT, load_space


@pytest.fixture(scope="module")
def net(micro) -> Supernet:
    return Supernet(micro, 4, 1, True, 3)


@pytest.fixture(scope="module")
def images(data) -> Recalibration:
    return Recalibration.of(data.train, 40, 0)


@pytest.fixture(scope="module")
def built(net, data, images) -> Server:
    return Server.build(net, ["smallest", net.space.sample(Random(5)), "largest"], data, images, batches=())


@pytest.fixture
def server(built) -> Server:
    """A copy whose latencies are made up, milliseconds by arch for 1 and 8 images."""
    copy = Server.__new__(Server)
    vars(copy).update(vars(built))
    small, middle, large = copy.archs
    times = {str(small): [1.0, 4.0], str(middle): [2.0, 8.0], str(large): [3.0, 12.0]}
    copy.latencies = Latencies([1, 8], runtime(torch.device("cpu")), times)
    top1s = dict(zip(copy.archs, (50.0, 80.0, 70.0), strict=True))
    copy.subnets = {arch: replace(one, val_top1=top1s[arch]) for arch, one in built.subnets.items()}
    return copy


def pixels(data, count=12):
    return data.validation.read(torch.arange(count))


@pytest.mark.parametrize(
    ("name", "transform"),
    [("mbv3_micro", False), ("mbv3_micro", True), ("resnet_28", False), ("resnet50d_224", False)],
)
def test_a_view_computes_the_bits_of_a_copy_and_holds_no_weights(name, transform):
    space = load_space(name)
    own = Supernet(space, 5, 3, transform, 1).eval()
    x = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    for arch in (space.smallest(), space.sample(Random(1))):
        shared, copied = view(own, arch), extract(own, arch)
        with torch.inference_mode():
            assert torch.equal(shared(x), copied(x))
        assert not any(parameter.requires_grad for parameter in shared.parameters())
        # Statistics and counters of BN, and kernels that a transformation has made, are all that is its own.
        buffers = sum(buffer.nbytes for buffer in shared.buffers())
        more = tensor_bytes(own, shared) - tensor_bytes(own)
        assert more > buffers if transform else more == buffers
        assert more < 0.5 * tensor_bytes(copied)


def test_a_subnet_answers_with_the_bits_of_the_recalibrated_one(built, net, data, images):
    normalised = Normalise.of(data)(pixels(data))
    for arch in built.archs:
        plain = recalibrated(net, arch, data, images)
        with torch.inference_mode():
            expected = plain(normalised)
        answer = built.predict(pixels(data), arch=arch)
        assert torch.equal(answer.logits, expected)
        assert answer.arch == arch
        cost, known = arch_cost(net.space, arch, 4, 1), built.subnets[arch]
        assert (known.macs, known.params) == (cost.macs, cost.params)
        ((top1,),) = accuracies(net, [arch], data, [data.validation], images)
        assert known.val_top1 == round(top1, 4)
        right = built.predict(data.validation.images, arch=arch).logits.argmax(1) == data.validation.labels
        assert 100 * right.float().mean().item() == pytest.approx(top1)


def test_a_subnet_answers_as_its_onnx_file(built, net, data, images, tmp_path):
    arch = net.choices.named("smallest")
    save_subnet(net, arch, data, tmp_path / "small.onnx", images)
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: Normalise.of(data)(pixels(data)).numpy()})
    np.testing.assert_allclose(built.predict(pixels(data), arch="smallest").logits.numpy(), logits, atol=1e-5)


def test_it_serves_other_resolutions_too(data, images):
    space = load_space("mbv3_micro")
    space = replace(space, resolution=[20, 28])
    own = Supernet(space, 4, 1, False, 3)
    arch = own.choices.named("smallest").at(20)
    server = Server.build(own, [arch], data, images, batches=())
    with torch.inference_mode():
        expected = recalibrated(own, arch, data, images)(Normalise.of(data)(resize(pixels(data), 20)))
    assert torch.equal(server.predict(pixels(data)).logits, expected)


def test_threads_that_switch_get_the_bits_of_one_after_the_other(built, data):
    batches = [data.validation.read(torch.arange(start, start + 3)) for start in range(0, 24, 3)]
    calls = [(batch, arch) for batch in batches for arch in built.archs] * 3
    expected = [built.predict(batch, arch=arch).logits for batch, arch in calls]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda call: built.predict(call[0], arch=call[1]).logits, calls))
    assert all(map(torch.equal, found, expected))


def test_the_supernet_may_be_trained_on(net, data, images):
    own = Supernet(net.space, 4, 1, True, 3)
    server = Server.build(own, ["smallest"], data, images, batches=())
    before = server.predict(pixels(data)).logits
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.zero_()
    assert torch.equal(server.predict(pixels(data)).logits, before)


def test_weights_are_held_once(built, net):
    own = tensor_bytes(net)
    apart = sum(tensor_bytes(extract(net, arch)) for arch in built.archs)
    assert own < built.nbytes < own + 0.5 * apart


def test_it_takes_the_most_accurate_within_the_limits(server):
    small, middle, large = server.archs
    assert server.choose() == middle
    assert server.choose(arch="largest") == server.choose(arch=large) == large
    macs = server.subnets[middle].macs
    assert server.choose(max_macs=macs) == middle
    assert server.choose(max_macs=macs - 1) == small
    assert server.choose(max_ms=2.0) == middle
    assert server.choose(max_ms=1.99) == small
    assert server.choose(max_ms=4.0, images=8) == small
    assert server.choose(max_ms=10.0, max_macs=macs - 1) == small


def test_times_are_interpolated_and_grow_in_proportion(server):
    small = server.archs[0]
    assert server.milliseconds(small, 1) == 1.0
    assert server.milliseconds(small, 8) == 4.0
    assert server.milliseconds(small, 4) == pytest.approx(1 + 3 * 3 / 7)
    assert server.milliseconds(small, 16) == 8.0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"max_macs": 10}, r"max_macs is 10; the smallest subnet offered has .* \(\d[\d,]+\)"),
        ({"max_ms": 0.5}, r"max_ms is 0\.5; the fastest subnet offered takes 1\.000 for 1 image$"),
        ({"max_ms": 3.9, "images": 8}, r"the fastest subnet offered takes 4\.000 for 8 images"),
        ({"max_ms": 0}, "max_ms is 0; expected a positive number"),
        ({"max_macs": float("nan")}, "max_macs is nan; expected a positive number"),
        ({"arch": "smallest", "max_ms": 1}, "arch is given, and a limit; expected one of them"),
        ({"arch": "medium"}, "arch is 'medium'; allowed: smallest, largest"),
    ],
)
def test_what_nothing_fits_is_refused(server, asked, message):
    with pytest.raises(UserError, match=message):
        server.choose(**asked)


def test_an_arch_that_is_not_offered_is_refused(server, micro):
    other = next(arch for seed in range(99) if (arch := micro.sample(Random(seed))) not in server.subnets)
    with pytest.raises(UserError, match=f"arch {other} is not offered; offered: {server.archs[0]}, "):
        server.choose(arch=other)


def test_other_images_are_refused(server, data):
    with pytest.raises(UserError, match="images are float32; expected uint8"):
        server.predict(torch.zeros(1, 1, 28, 28))
    with pytest.raises(
        UserError, match="images have 32×32 pixels and 1 channels; expected 28×28 pixels and 1 channels"
    ):
        server.predict(np.zeros((1, 32, 32), np.uint8))
    with pytest.raises(UserError, match="images have 28×28 pixels and 3 channels; expected"):
        server.predict(np.zeros((1, 28, 28, 3), np.uint8))
    same = server.predict(pixels(data).permute(0, 3, 1, 2)).logits
    assert torch.equal(server.predict(pixels(data)[..., 0].numpy()).logits, same)


def test_times_are_measured_here_and_hold_here_only(built, monkeypatch):
    with pytest.raises(UserError, match=r"no latencies are known; server\.measure\(\) measures them for torch"):
        built.choose(max_ms=1)
    copy = Server.__new__(Server)
    vars(copy).update(vars(built))
    monkeypatch.setattr("dεps.deploy.latency.timing.ROUNDS", 3)
    monkeypatch.setattr("dεps.deploy.latency.timing.FEWEST_ROUNDS", 3)
    copy.measure([4, 1])
    assert copy.latencies.batches == [1, 4]
    assert list(copy.latencies.ms) == [str(arch) for arch in copy.subnets]
    assert all(0 < one < 60_000 for row in copy.latencies.ms.values() for one in row)
    assert copy.choose(max_ms=60_000) == max(copy.archs, key=lambda arch: copy.subnets[arch].val_top1)
    monkeypatch.setattr(serve, "cpu_name", lambda: "another")
    with pytest.raises(UserError, match=r"the latencies are of torch .*; server\.measure\(\) .* on another, "):
        copy.choose(max_ms=60_000)
    assert copy.choose() in copy.subnets  # nothing else needs them
    with pytest.raises(UserError, match="batches is empty"):
        copy.measure([])


def test_a_file_holds_all_of_it(server, data, tmp_path):
    server.save(tmp_path / "a.safetensors")
    again = Server.load(tmp_path / "a.safetensors")
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (again.subnets, again.latencies, again.classes) == (server.subnets, server.latencies, data.classes)
    for arch in server.archs:
        ours, theirs = (one.predict(pixels(data), arch=arch).logits for one in (server, again))
        assert torch.equal(ours, theirs)
    assert again.nbytes == server.nbytes
    size = (tmp_path / "a.safetensors").stat().st_size
    assert size < 1.2 * server.nbytes + 50_000
    with pytest.raises(UserError, match=r"x\.bin is no name for a server; expected one that ends in \.safetensors"):
        server.save(tmp_path / "x.bin")


def changed(path, change) -> None:
    """Rewrite a server's file after `change(tensors, description)`."""
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["server"])
    tensors = load_file(path)
    change(tensors, described)
    save_file(tensors, path, {"server": json.dumps(described)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, said: tensors.pop("subnet.1.0.mean"), "lacks BN statistics of"),
        (lambda tensors, said: tensors.pop("net.classifier.bias"), "does not fit its own description"),
        (lambda tensors, said: said["subnets"].reverse(), "are those of another network"),
        (lambda tensors, said: said["classes"].pop(), "classes or channels differ"),
        (lambda tensors, said: said["latencies"]["ms"].popitem(), "its latencies are of other subnets"),
        (lambda tensors, said: said["subnets"][0].update(arch="k9"), r"subnets\[0\]\.arch is 'k9'; allowed"),
        (lambda tensors, said: said.update(format=2), "format is 2"),
        (lambda tensors, said: said.update(more=1), "more"),
    ],
)
def test_a_damaged_file_is_named(server, tmp_path, change, message):
    path = tmp_path / "a.safetensors"
    server.save(path)
    changed(path, change)
    with pytest.raises(UserError, match=message) as caught:
        Server.load(path)
    assert str(path) in str(caught.value)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"a\.safetensors is no readable server"):
        Server.load(tmp_path / "a.safetensors")


def test_nothing_to_offer_is_refused(net, data):
    with pytest.raises(UserError, match="archs is empty; expected at least one, such as 'smallest'"):
        Server.build(net, [], data)
    with pytest.raises(UserError, match="is no arch of the space"):
        Server.build(net, [load_space("resnet_28").smallest()], data)


def test_the_lines_of_the_docs_serve(net, data, monkeypatch, tmp_path):
    """After its program, of which nets that are not trained stand here; in as much time as the machine needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dεps.deploy.latency.timing.ROUNDS", 3)
    monkeypatch.setattr("dεps.deploy.latency.timing.FEWEST_ROUNDS", 3)
    (block,) = re.findall(r"^```python\n(server = .*?)^```", (ROOT / "docs/serve.md").read_text("utf-8"), re.M | re.S)
    assert "max_ms=2.0" in block
    names = {"deps": deps, "net": net, "data": data, "images": data.validation.images[:8]}
    exec(block.replace("max_ms=2.0", "max_ms=60_000.0"), names)
    assert names["answer"].logits.shape == (8, 4)
    assert names["answer"].arch in names["server"].archs
    assert names["server"].latencies.batches == [1, 8, 32]
