"""An extracted subnet with its card, and the files of an experiment that `deps export` reads."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from dεps.data.splits import PreparedData
from dεps.deploy.export.subnet import card_of
from dεps.evaluation.accuracy import Recalibration, recalibrated
from dεps.nets.files import save_supernet
from dεps.nets.supernet import Supernet
from dεps.search.predictor import PredictConfig, fit, save_predictor
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes
from dεps.workspace.stage import Context
from tests.conftest import quick_params


@pytest.fixture(scope="session")
def net(micro) -> Supernet:
    return Supernet(micro, 4, channels=1, seed=1)


@pytest.fixture(scope="session")
def subnet(net, data):
    """The largest arch, recalibrated, and its card."""
    arch = net.space.largest()
    card = card_of(net, data, arch, 50.0, None, experiment="quick", method="deps", seed=0)
    return recalibrated(net, arch, data, Recalibration(torch.arange(48))), card


@pytest.fixture
def project(tmp_path, monkeypatch, data: PreparedData, net) -> dict:
    """A folder with params, data, a supernet, a front and a predictor; returns the params."""
    monkeypatch.chdir(tmp_path)
    params = quick_params() | {"methods": ["deps"]}
    quick, space = params["experiments"]["quick"], net.space
    quick["dataset"] |= {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": "images"}
    quick["search"] |= {"population": 8, "generations": 3, "recalibration_images": 48}
    quick["export"] |= {"candidates": 2}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(data.folder, "runs/quick/prepare")
    for stage in ("train", "search", "predict", "evaluate"):
        Path(f"runs/quick/{stage}/deps-0").mkdir(parents=True)
    save_supernet(net, Path("runs/quick/train/deps-0/supernet.safetensors"))
    config = Context("predict", "quick", "deps", 0, params).section(PredictConfig, "predict")
    codes = encode_genomes(space, np.array([space.to_genome(arch) for arch in (space.smallest(), space.largest())]))
    model = fit("ridge", codes, np.array([0.2, 0.3]), config, 0)
    save_predictor(model, Path("runs/quick/predict/deps-0/predictor.safetensors"), space, config)
    rows = []
    for number, arch in enumerate([space.smallest(), *space.pareto_archs().values()]):
        cost = arch_cost(space, arch, 4, 1)
        measured = 30.0 if number == 0 else None
        row = {"arch": str(arch), "macs": cost.macs, "params": cost.params, "predicted": 20.0 + number}
        rows.append(row | {"measured": measured})
    pd.DataFrame(rows).sort_values("macs").to_csv("runs/quick/search/deps-0/front.csv", index=False)
    return params
