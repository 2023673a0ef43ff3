"""Fixtures: the real configuration, shrunk, and small drawn images."""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from dεps.core.process import settle
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.data.splits import PreparedData
from dεps.planning.check import composed
from dεps.sources.prepare import prepare
from dεps.spaces.space import SearchSpace

settle(portable=False)  # as programs do before anything else, whatever params.yaml of this clone says
pytest_plugins = ["tests.tools.browser", "tests.tools.axe", "tests.tools.postgresql", "tests.tools.spaces"]
ROOT = Path(__file__).resolve().parent.parent
#: every space that is not just another with more resolutions
SPACES = sorted(path.stem for path in (ROOT / "params/space").glob("*.yaml") if not path.stem.endswith("_elastic"))
#: without those that have another's networks: a part of its archs, or other images
NETWORKS = [name for name in SPACES if not name.endswith(("_k7", "_rss"))]


def load_space(name: str) -> SearchSpace:
    """A space as Hydra composes it: one YAML may build on another."""
    with initialize_config_dir(str(ROOT / "params"), version_base=None):
        return structured(SearchSpace, OmegaConf.to_container(compose(f"space/{name}").space), "space")


@cache
def default_text() -> str:
    """What `deps params` writes without overrides, whatever `params.yaml` holds now."""
    return composed([], ROOT / "params")[1]


#: `quick` as tests count and name: a space with choices of all kinds, few epochs, the bits of this processor
QUICK = [
    "portable=false",
    "space@experiments.quick.space=mbv3_micro",
    "experiments.quick.train.epochs=4",
    "experiments.quick.train.batch_size=64",
    "experiments.quick.train.warmup_epochs=0.5",
    "experiments.quick.train.augment.crop_padding=1",
    "experiments.quick.methods.deps.ramp_epochs=0.5",
    "experiments.quick.methods.compofa.kernels=[3,5,3]",
]


@cache
def quick_text() -> str:
    """What `deps params` writes with the overrides `QUICK`."""
    return composed(QUICK, ROOT / "params")[1]


def quick_params() -> dict[str, Any]:
    """Params of `quick` with the overrides `QUICK`, to change at will."""
    return yaml.safe_load(quick_text())


def made_up_manifest(**values: Any) -> dict[str, Any]:
    """What `manifest.json` says of data that is not there."""
    counts, hashes = {"train": 7000, "validation": 1000, "test": 2000}, {"train": "1", "validation": "2", "test": "3"}
    manifest = {"source": "s", "name": "m", "form": "tensor", "size": 28, "channels": 1}
    manifest |= {"crop": 1.0, "classes": ["a", "b"]}
    return {
        **manifest,
        "images": counts,
        "mean": [0.5],
        "std": [0.1],
        "sha256": hashes,
        "params": {"name": "m"},
        **values,
    }


@pytest.fixture(scope="session")
def micro() -> SearchSpace:
    return load_space("mbv3_micro")


def draw_image_folder(root: Path, per_class: dict[str, int], size: int = 28, classes: int = 4) -> Path:
    """Grey stripes whose angle is the class, with noise: `<split>/<class>/<n>.png`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for split, count in per_class.items():
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            angle = np.pi * label / classes
            for number in range(count):
                wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 2 + rng.uniform(0, 6))
                pixels = np.clip(128 + 90 * wave + rng.normal(0, 25, wave.shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return root


def zipped(folder: Path, path: Path) -> Path:
    """All files of a folder, hidden ones too, in a .zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 4 classes with 48 train, 12 validation and 12 test images each."""
    return draw_image_folder(tmp_path_factory.mktemp("drawn"), {"train": 48, "validation": 12, "test": 12})


@pytest.fixture(scope="session")
def data(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """The drawn images, prepared."""
    config = DatasetConfig(name="drawn", source="image_folder", image_size=28, channels=1, root=str(drawn))
    out = tmp_path_factory.mktemp("prepared")
    prepare(config, out)
    return PreparedData(out, config)


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.use_deterministic_algorithms(True)
