"""What holds for every data source: each file of `dεps/sources` is tested on its own example, a new one too."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.data.folder import ImageFolder
from dεps.data.splits import PreparedData
from dεps.sources import registry
from dεps.sources.prepare import prepare
from dεps.workspace.presets import unchecked
from tests.conftest import ROOT
from tests.tools.refusals import files, refusal

SPLITS = ("train", "validation", "test")
each_source = pytest.mark.parametrize("name", registry.names())


def config_of(name: str, folder: Path, **values) -> DatasetConfig:
    folder.mkdir(exist_ok=True)
    keys = {"name": name, "source": name} | registry.kind(name).example(folder) | values
    return structured(DatasetConfig, keys, "dataset")


def test_the_sources_are_the_files():
    assert {"fashion_mnist_mini", "image_folder", "torchvision"} <= set(registry.names())
    with pytest.raises(
        UserError, match=r"^e\.source is 'web'; allowed: fashion_mnist_mini, image_folder, .*torchvision"
    ):
        registry.source_of(DatasetConfig("web", "web", 28, 1), "e")


PRESETS = sorted(path.stem for path in (ROOT / "params/dataset").glob("*.yaml") if path.stem != "base")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_one_that_its_source_takes(preset, monkeypatch):
    monkeypatch.chdir(ROOT)
    composed = unchecked([f"dataset@experiments.quick.dataset={preset}"])[0]["experiments"]["quick"]["dataset"]
    templates = {"image_folder": {"name": "mine", "root": "x", "image_size": 32}}
    templates["torchvision"] = {"name": "gtsrb", "image_size": 32}
    config = structured(DatasetConfig, composed | templates.get(preset, {}), "dataset")
    source = registry.source_of(config)
    assert type(source).__module__ == f"dεps.sources.{config.source}"
    assert "options" not in config.facts()  # as data prepared before there were any say
    assert preset in templates or config.name == preset


@each_source
def test_what_a_source_finds(tmp_path, name):
    source = registry.source_of(config_of(name, tmp_path / "root"))
    found = source.find(download=False)
    found.check(name)
    assert found.listings["train"]
    assert set(found.listings) <= set(SPLITS)
    assert set(source.own_splits()) <= set(found.listings)
    again = registry.source_of(config_of(name, tmp_path / "again")).find(download=False)
    assert (again.listings, again.classes) == (found.listings, found.classes)
    assert isinstance(found.images, ImageFolder) or set(found.images) == set(found.listings)


@each_source
def test_what_becomes_of_it(tmp_path, name):
    config = config_of(name, tmp_path / "root", in_memory_limit_mb=2048)
    (out := tmp_path / "out").mkdir()
    manifest = prepare(config, out)
    pixels: dict[str, set[bytes]] = {}
    for split in SPLITS:
        prepared = load_file(out / f"{split}.safetensors")
        images, labels = prepared["images"], prepared["labels"]
        assert images.dtype == np.uint8
        assert images.shape == (len(labels), config.image_size, config.image_size, config.channels)
        assert len(labels) == manifest["images"][split] > 0
        assert np.issubdtype(labels.dtype, np.integer)
        assert labels.min() >= 0
        assert labels.max() < len(manifest["classes"])
        assert manifest["per_class"][split] == np.bincount(labels, minlength=len(manifest["classes"])).tolist()
        pixels[split] = {image.tobytes() for image in images}
    assert all(manifest["per_class"]["train"])
    assert not pixels["train"] & pixels["validation"] | pixels["train"] & pixels["test"]
    assert not pixels["validation"] & pixels["test"]
    own = set(registry.source_of(config).find(download=False).listings)
    assert manifest.get("held_out", []) == [split for split in SPLITS if split not in own]
    assert len(PreparedData(out, config).train) == manifest["images"]["train"]


@each_source
def test_the_bytes_are_the_same_every_time(tmp_path, name):
    for turn in ("a", "b"):
        (tmp_path / turn).mkdir()
        prepare(config_of(name, tmp_path / f"root-{turn}"), tmp_path / turn)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert json.loads((tmp_path / "a/manifest.json").read_text())["source"] == name


@each_source
def test_a_source_is_given_all_it_needs(tmp_path, name):
    kind = registry.kind(name)
    if kind.needs_root:
        config = dataclasses.replace(config_of(name, tmp_path / "root"), root=None)
        with pytest.raises(UserError, match=r"^dataset\.root is not set; expected the path of the images"):
            registry.source_of(config)
        elsewhere = dataclasses.replace(config, root=str(tmp_path / "nowhere"), download=False)
        refusal(lambda: registry.source_of(elsewhere).find(download=False), str(tmp_path / "nowhere"))
    names = {field.name for field in dataclasses.fields(kind.Options)}
    assert not names & {"size", "nfiles"}  # DVC's run cache ignores such keys
    message = refusal(lambda: registry.source_of(config_of(name, tmp_path / "other", options={"unheard_of": 1})))
    assert message.startswith("dataset.options.unheard_of is no known key")
