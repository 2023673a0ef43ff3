"""The files of an experiment that stage `finetune` and `deps finetune` read."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dεps.core.files import write_json
from dεps.workspace.stage import Context
from pipelines import export
from tests.deploy.export.conftest import net, project  # noqa: F401 - fixtures

#: MACs that the supernet's training has cost
SPENT = 2_000_000_000


@pytest.fixture
def exported(project) -> dict:  # noqa: F811
    """A project whose export stage has run, with short trainings; returns the params."""
    project |= {"finetuned": ["small"]}
    quick = project["experiments"]["quick"]
    quick["train"] |= {"batch_size": 32, "validate_recalibration": 40, "teacher_recalibration": 40}
    quick["finetune"] |= {"epochs": 2, "learning_rate_ratio": 0.5}
    write_json(Path("runs/quick/train/deps-0/summary.json"), {"cost/train_tmacs": SPENT / 1e12})
    front = Path("runs/quick/search/deps-0/front.csv")
    pd.read_csv(front).assign(measured=None).to_csv(front, index=False)  # so that the stage measures, as the others do
    folder = Path("runs/quick/export/deps-0")
    folder.mkdir(parents=True)
    export.work(Context("export", "quick", "deps", 0, project), folder)
    Path("params.yaml").write_text(json.dumps(project))
    return project
