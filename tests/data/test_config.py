from pathlib import Path

import pytest

from dεps.core.errors import UserError
from dεps.data.config import DatasetConfig
from dεps.sources.prepare import prepare


def config(root: str) -> DatasetConfig:
    return DatasetConfig(name="drawn", source="image_folder", image_size=28, channels=1, root=root)


@pytest.mark.parametrize(
    ("workspace", "root", "location"),
    [(None, "images", "images"), ("/main", "images", "/main/images"), ("/main", "/data/images", "/data/images")],
)
def test_images_are_sought_from_the_main_workspace_on(monkeypatch, workspace, root, location):
    monkeypatch.setenv("DVC_ROOT", workspace) if workspace else monkeypatch.delenv("DVC_ROOT", raising=False)
    assert config(root).location() == Path(location)


def test_a_copy_without_the_images_prepares_the_same(drawn, tmp_path, monkeypatch):
    for name, workspace in (("a", drawn.parent), ("b", drawn.parent)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(drawn.parent if name == "a" else tmp_path)
        monkeypatch.setenv("DVC_ROOT", str(workspace))
        prepare(config(drawn.name), tmp_path / name)
    assert (tmp_path / "a/manifest.json").read_text() == (tmp_path / "b/manifest.json").read_text()


@pytest.mark.parametrize("crop", [0.0, 0.49, 1.01, float("nan")])
def test_a_crop_is_a_share(crop):
    with pytest.raises(UserError, match=r"^DatasetConfig\.crop is .*; expected 0\.5 to 1$"):
        DatasetConfig("drawn", "image_folder", 28, 1, "x", crop=crop)
