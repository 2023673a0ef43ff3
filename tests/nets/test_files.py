import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dεps.core.errors import UserError
from dεps.nets.files import load_supernet, save_supernet
from dεps.nets.supernet import Supernet


def test_a_file_holds_the_whole_network(micro, tmp_path):
    net = Supernet(micro, classes=7, channels=1, kernel_transform=True, seed=4)
    save_supernet(net, tmp_path / "a.safetensors")
    save_supernet(net, tmp_path / "b.safetensors")
    loaded = load_supernet(tmp_path / "a.safetensors")
    assert (loaded.classes, loaded.channels, loaded.kernel_transform) == (7, 1, True)
    assert loaded.space == micro
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"no supernet at all, but some text"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.safetensors is no readable supernet"):
        load_supernet(path)


@pytest.mark.parametrize("name", ["classifier.weight", "body.stem_bn.running_mean"])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(micro, tmp_path, name):
    net, path = Supernet(micro, classes=3, channels=1), tmp_path / "net.safetensors"
    save_supernet(net, path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    net.state_dict()[name].view(-1)[1] = float("nan")
    with pytest.raises(UserError, match=rf"was not written: '{name}' has numbers that are not finite"):
        save_supernet(net, tmp_path / "other.safetensors")
    assert [path] == list(tmp_path.iterdir())
    save_file({key: tensor.contiguous() for key, tensor in net.state_dict().items()}, path, metadata)
    with pytest.raises(UserError, match=rf"net\.safetensors cannot be used: '{name}' has numbers that are not finite"):
        load_supernet(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(UserError, match=r"pipe\.safetensors is no readable supernet \(a folder, or a pipe"):
        load_supernet(tmp_path / "pipe.safetensors")
