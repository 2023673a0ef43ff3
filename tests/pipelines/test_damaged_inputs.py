"""What one stage wrote and something damaged is refused by the next, in one line that names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.evaluation.accuracy import named_archs
from dεps.nets.files import save_supernet
from dεps.nets.supernet import Supernet
from dεps.report.results import Results, all_results
from dεps.report.tables import caption, summary
from dεps.spaces.cost import arch_cost
from dεps.tracking.store import Store
from dεps.tracking.sync import instances, sync
from dεps.workspace.live import read_live
from dεps.workspace.stage import Context
from pipelines import export, predict, reference, search
from tests.conftest import quick_params
from tests.report import made_up
from tests.report.made_up import write_report
from tests.tools.accidents import ACCIDENTS, binary, cut, empty, remove, text
from tests.tools.refusals import assert_one_line, refusal
from tests.tracking import test_sync

results, workspace = made_up.results, test_sync.workspace
#: a table cut short between two rows is a table
CERTAIN = [accident for accident in ACCIDENTS if accident is not cut]


def use(results: Results) -> None:
    """All that the report reads."""
    again = all_results(read_params())[0]
    assert len(summary(again))
    assert caption(again)
    for table in (again.pareto, again.population, again.predictions, again.searched, again.metrics, again.history):
        assert len(table)
    assert again.has_exports
    for table in (again.classes, again.confusion, again.examples, again.pictures):
        assert len(table)


def contents(*folders: str) -> Iterator[Path]:
    return (path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.is_file())


def test_the_report_names_each_damaged_file(results):
    use(results)
    refused = 0
    for path in contents("runs/quick", "runs/quick/prepare"):
        if path.match("reference/*/*.json"):
            continue  # read by `deps publish` alone, which checks all bytes
        whole = path.read_bytes()
        for accident in (binary, empty, remove):
            accident(path)
            refusal(lambda: use(results), str(path))
            refused += 1
            restore(path, whole)
        cut(path)
        try:
            use(results)
        except UserError as error:
            assert_one_line(str(error), str(path))
        restore(path, whole)
    assert refused >= 30


def restore(path: Path, content: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("evaluate/rss-1/pareto.csv", "macs", "mac"),
        ("evaluate/rss-1/pareto.csv", "1000000.0", "many"),
        ("evaluate/rss-1/pareto.csv", "1000000.0", "inf"),
        ("evaluate/rss-1/pareto.csv", "70.0", ""),
        ("evaluate/rss-1/pareto.csv", "D1E2K5", ""),
        ("evaluate/rss-1/population.csv", "70.0", "1e400"),
        ("search/rss-1/front.csv", "70", '"'),
        ("predict/rss-1/metrics.json", "0.5", "NaN"),
        ("predict/rss-1/metrics.json", "0.5", '"0.5"'),
        ("predict/rss-1/metrics.json", "0.5", "true"),
        ("predict/rss-1/metrics.json", "predictor/kendall_tau", "tau"),
        ("train/rss-1/summary.json", "cost/", ""),
        ("reference/metrics.json", "84.0", "null"),
        ("train/rss-1/history.jsonl", '"epoch"', '"ages"'),
        ("train/rss-1/history.jsonl", "{", "["),
    ],
)
def test_the_report_names_files_of_other_content(results, name, old, new):
    path = Path("runs/quick") / name
    path.write_text(path.read_text().replace(old, new, 1))
    refusal(lambda: use(results), name)


def test_a_report_of_damaged_results_is_not_written(results):
    empty(Path("runs/quick/predict/rss-0/predictions.csv"))
    refusal(write_report, "rss-0/predictions.csv")
    assert not Path("reports/experiments").exists()
    assert not any(path.is_file() for path in Path(".state").rglob("*"))


def test_the_report_and_the_tracker_check_what_params_select():
    for key in ("names", "methods", "seeds", "experiments"):
        for value in (None, [], "quick", [None], {"a": 1}):
            params = {**quick_params(), key: value}
            refusal(lambda params=params: all_results(params), key)
            if key != "experiments":
                refusal(lambda params=params: list(instances(params)), key)


# --- tracking --------------------------------------------------------------------------------------------------


@pytest.fixture
def study(workspace: dict[str, Any]) -> dict[str, Any]:
    """The workspace with the files of a small study."""
    folder = Path("runs/quick/tune")
    folder.mkdir(parents=True)
    row = {"trial": 0, "point": "base", "state": "complete", "shrink_start": 0.5, "train_tmacs": 1.0, "own_tmacs": 1.0}
    row |= {"val_top1": 70.0, "val_smallest_top1": 60.0, "val_largest_top1": 80.0}
    pd.DataFrame([row | dict.fromkeys(("feasible", "front", "best"), True)]).to_csv(folder / "trials.csv", index=False)
    (folder / "curves.csv").write_text("trial,epoch,val/smallest_top1\n0,1,60.0\n")
    (folder / "points.csv").write_text("trial,name,macs,val_top1\n")
    (folder / "importance.csv").write_text("option,accuracy,cost\n")
    (folder / "confirmation.csv").write_text("seed,default,best\n")
    (folder / "best.yaml").write_text("{}\n")
    (folder / "summary.json").write_text('{"tune/trials": 1}')
    return workspace


def test_the_tracker_names_each_damaged_file(study):
    store = Store()
    sync(study, store)
    tables = [f"runs/quick/tune/{name}" for name in ("trials.csv", "curves.csv", "summary.json")]
    for name in ("runs/quick/prepare/manifest.json", "runs/quick/train/deps-0/history.jsonl", *tables):
        path, whole = Path(name), Path(name).read_bytes()
        for accident in (binary, empty, text):
            accident(path)
            refusal(lambda: sync(study, store), name)
        path.write_bytes(whole)
    note = Path(".state/timing/quick/train/deps-0.json")
    note.parent.mkdir(parents=True)
    note.write_text('{"started": 1}')
    Path("runs/quick/train/deps-0/history.jsonl").write_text('{"epoch": 1, "val/x": 1.0}\n')
    refusal(lambda: sync(study, store), str(note))


def test_a_damaged_live_file_is_as_good_as_none(tmp_path):
    path = tmp_path / "live.jsonl"
    for content in (b"\xff\xfe\n5\n[]\n", b'"digest"\n{"record": 1}\n{"record": {}}\n', b"[" * 10_000, b"null\n" * 9):
        path.write_bytes(content)
        assert read_live(path) is None


# --- stages that read other stages -----------------------------------------------------------------------------


@pytest.fixture
def stages(tmp_path, monkeypatch, data, micro) -> Callable[[str], Context]:
    """What `predict`, `search` and `reference` read; gives the context of a stage."""
    monkeypatch.chdir(tmp_path)
    params = quick_params()
    quick = params["experiments"]["quick"]
    quick["dataset"] |= {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": "images"}
    quick["predict"] |= {"epochs": 1, "folds": 2}
    quick["search"] |= {"population": 4, "generations": 1, "measured": 1, "recalibration_images": 2}
    shutil.copytree(data.folder, "runs/quick/prepare")
    net = Supernet(micro, 4, channels=1)
    for name in ("train/deps-0", "full_model/0", "standalone/smallest-0"):
        Path("runs/quick", name).mkdir(parents=True)
        save_supernet(net, Path("runs/quick", name, "supernet.safetensors"))
    archs = named_archs(micro).values()
    rows = [
        {"arch": str(arch), "macs": arch_cost(micro, arch, 4, 1).macs, "val_top1": 50.0, "test_top1": 50.0}
        for arch in archs
    ]
    Path("runs/quick/evaluate/deps-0").mkdir(parents=True)
    for name in ("population", "pareto"):
        pd.DataFrame(rows).to_csv(f"runs/quick/evaluate/deps-0/{name}.csv", index=False)

    def context(stage: str) -> Context:
        return Context(stage, "quick", None if stage == "reference" else "deps", 0, params)

    Path("runs/quick/predict/deps-0").mkdir(parents=True)
    predict.work(context("predict"), Path("runs/quick/predict/deps-0"))
    Path("runs/quick/search/deps-0").mkdir(parents=True)
    front = [row | {"params": 1, "predicted": 50.0} for row in rows]
    pd.DataFrame(front).to_csv("runs/quick/search/deps-0/front.csv", index=False)
    Path("out").mkdir()
    return context


def test_stages_name_the_damaged_files_of_others(stages):
    table = "runs/quick/evaluate/deps-0/population.csv"
    supernets = "runs/quick/full_model/0/supernet.safetensors", "runs/quick/standalone/smallest-0/supernet.safetensors"
    inputs = {
        (predict.work, "predict"): [table, "runs/quick/evaluate/deps-0/pareto.csv"],
        (search.work, "search"): [
            "runs/quick/predict/deps-0/predictor.safetensors",
            "runs/quick/train/deps-0/supernet.safetensors",
            "runs/quick/prepare/manifest.json",
            "runs/quick/prepare/train.safetensors",
        ],
        (export.work, "export"): [
            "runs/quick/search/deps-0/front.csv",
            "runs/quick/train/deps-0/supernet.safetensors",
            "runs/quick/prepare/manifest.json",
        ],
        (reference.work, "reference"): [*supernets, "runs/quick/prepare/manifest.json"],
    }
    for (work, stage), names in inputs.items():
        for name in names:
            path, whole = Path(name), Path(name).read_bytes()
            accidents = [binary, empty, text] if name == supernets[1] else CERTAIN
            for accident in accidents:
                accident(path)
                refusal(lambda work=work, stage=stage: work(stages(stage), Path("out")), name)
                restore(path, whole)
    assert not list(Path("out").rglob("*.csv"))


@pytest.mark.parametrize("value", ["k9e9_r28", "", "k3e2", "\n", "x", "k3e2_k3e2_k3e2_k3e2_r28"])
def test_predict_names_archs_of_no_space(stages, value):
    path = Path("runs/quick/evaluate/deps-0/pareto.csv")
    pd.read_csv(path).assign(arch=value).to_csv(path, index=False)
    refusal(lambda: predict.work(stages("predict"), Path("out")), "pareto.csv")


def test_a_supernet_of_another_space_is_refused(stages, micro):
    path = Path("runs/quick/train/deps-0/supernet.safetensors")
    save_supernet(Supernet(micro.restrict(depth=[1, 2]), 4, channels=1), path)
    assert "search space" in refusal(lambda: search.work(stages("search"), Path("out")), str(path))
    save_supernet(Supernet(micro, 5, channels=1), path)
    assert "classes" in refusal(lambda: search.work(stages("search"), Path("out")), str(path))


def test_params_that_lack_what_a_stage_reads(stages):
    Path("params.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(quick_params() | {"names": ["other"]}))))
    refusal(lambda: all_results(read_params()), "other")
