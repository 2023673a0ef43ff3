"""Made-up results as a project that `deps publish` can read: with `dvc.lock`, and what stage `check` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dεps.core.files import write_json
from dεps.core.hashing import md5
from dεps.core.params import read_params
from dεps.workspace.decides import STAGES, hash_of, method_files
from tests.conftest import ROOT
from tests.report.made_up import write_results
from tests.tuning.tables import write_study


def write_project(root: Path) -> dict[str, Any]:
    """Methods deps and rss of seeds 0 and 1 below `root`, all finished; returns the params."""
    write_results(root)
    (root / "pipelines").symlink_to(ROOT / "pipelines")
    runs = root / "runs/quick"
    full_model = {"reference/full_model_top1": 84.5, "reference/full_model_top1_std": 0.7071}
    write_json(runs / "reference/metrics.json", full_model | {"reference/logistic_regression_top1": 81.25})
    for seed in (0, 1):
        write_json(runs / f"reference/full_model/{seed}.json", {"pareto/largest_top1": 84.0 + seed})
        write_json(runs / f"reference/standalone/smallest-{seed}.json", {"pareto/smallest_top1": 78.0 + seed})
        write_json(runs / f"full_model/{seed}/summary.json", {"cost/train_tmacs": 0.4})
        history = (runs / f"full_model/{seed}/history.jsonl").read_text()
        (runs / f"standalone/smallest-{seed}/history.jsonl").write_text(history)
    for name, files in {
        "full_model": ("full_model",),
        "standalone": ("standalone",),
        "train-deps": ("registry", "deps"),
        "train-rss": ("registry", "rss"),
    }.items():
        write_json(root / f"reports/checked/quick/{name}.json", {"sha256": hash_of(method_files(*files))})
    write_lock(root)
    return read_params(root / "params.yaml")


def add_study(root: Path, trials: int = 10) -> None:
    """A study, as stage `tune` leaves it, beside the results of `write_project`."""
    write_study(root / "study", root / "runs/quick/tune", trials=trials)
    write_json(root / "reports/checked/quick/tune.json", {"sha256": hash_of(method_files(*STAGES["tune"].methods))})
    write_lock(root)


def write_lock(root: Path) -> None:
    """A `dvc.lock` that says of each file in `runs/` what it is now."""
    stages: dict[str, Any] = {}
    for path in sorted((root / "runs").rglob("*.*")):
        name, stage, *rest = path.relative_to(root / "runs").parts
        shared = stage in ("prepare", "reference", "tune")
        outs = stages.setdefault(f"{stage}@{name}" + ("" if shared else f"-{rest[0]}"), {"outs": []})["outs"]
        outs.append({"path": path.relative_to(root).as_posix(), "md5": md5(path)})
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
