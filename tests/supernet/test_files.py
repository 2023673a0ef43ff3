import pytest
import torch

from dεps.errors import UserError
from dεps.supernet.files import load_supernet, save_supernet
from dεps.supernet.network import Supernet


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
