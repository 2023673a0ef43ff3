"""What a family's folder has to hold, asked of each that is there and of one that only tests know."""

import re

import pytest
import torch

import dεps.nets
from dεps.core.errors import UserError
from dεps.nets.extract import extract, stretches
from dεps.nets.family import HasShortcut
from dεps.nets.files import load_supernet, save_supernet
from dεps.nets.supernet import Supernet
from dεps.spaces.space import families
from tests.conftest import ROOT, load_space
from tests.nets.test_supernet import images, randomised
from tests.tools.spaces import PLAIN, family_spaces


def test_a_family_is_there_as_long_as_its_folder_is(tmp_path, monkeypatch):
    before = families()
    assert {"mobilenet", "resnet"} <= {*before}
    (tmp_path / "another").mkdir()
    (tmp_path / "another/geometry.py").touch()
    monkeypatch.setattr(dεps.nets, "__path__", [*dεps.nets.__path__, str(tmp_path)])
    assert families() == sorted([*before, "another"])
    assert "another" not in families("public")


@pytest.mark.parametrize("family", families())
def test_a_readme_says_what_each_file_is(family):
    folder = ROOT / "dεps/nets" / family
    text = (folder / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 25
    assert {path.name for path in folder.glob("*.py") if path.stat().st_size} == {
        name for name in ("geometry.py", "network.py", "public.py") if f"| `{name}` |" in text
    }


@pytest.mark.parametrize("family", families())
def test_nothing_outside_the_folder_names_a_family(family):
    for path in (ROOT / "dεps").rglob("*.py"):
        if family in path.parts:
            continue
        code = path.read_text("utf-8")
        assert not re.search(rf"nets\.{family}\b", code), path
        assert f'"{family}"' not in code or path.name == "space.py", path  # the default of the key `family`


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_what_is_beside_a_shortcut_makes_no_difference_where_its_scale_is_zero(space, closed):
    net = randomised(space).eval()
    blocks = [m for m in net.modules() if isinstance(m, HasShortcut) and m.residual_scale() is not None]
    assert [id(block.residual_scale()) for block in blocks] == [id(scale) for scale in net.residual_scales()]
    if not blocks:
        pytest.skip("no shortcuts")
    batch, generator = images(4), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for scale in net.residual_scales():
            scale.mul_(0.0 if closed else 1.0)
        before = net(batch, space.largest())
        readers = [axis.reader for block in blocks for axis in block.sortable()]
        for reader in readers:
            reader.add_(torch.rand(reader.shape, generator=generator))
        assert torch.equal(before, net(batch, space.largest())) == closed


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_an_arch_is_its_stretches_and_their_keys_tell_them_apart(space):
    net = randomised(space).eval()
    batch = images(4)
    for arch in (space.largest(), space.smallest()):
        found = stretches(net, arch)
        keys = [stretch.key for stretch in found]
        assert len({*keys}) == len(keys)
        x = batch
        with torch.no_grad():
            for stretch in found:
                x = stretch.build().eval()(x)
            torch.testing.assert_close(x, extract(net, arch)(batch))


@pytest.mark.parametrize("space", family_spaces(), indirect=True)
def test_a_supernet_comes_back_from_its_file(space, tmp_path):
    net = Supernet(space, 3, 1, seed=2)
    save_supernet(net, tmp_path / "net.safetensors")
    back = load_supernet(tmp_path / "net.safetensors")
    assert back.space == space
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("space", [PLAIN], indirect=True)
def test_a_supernet_of_a_family_that_is_gone_is_refused(space, tmp_path, monkeypatch):
    save_supernet(Supernet(space, 3, 1), tmp_path / "net.safetensors")
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"net\.safetensors: space\.family is 'plain'; allowed: "):
        load_supernet(tmp_path / "net.safetensors")
    assert load_space("mbv3_micro").family in families()
