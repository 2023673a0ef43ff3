"""One name means one arch, whoever says it: training records, tables of archs, the results table, MLflow."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from dεps.core.files import read_records, write_json
from dεps.core.schema import structured
from dεps.evaluation.accuracy import top1
from dεps.evaluation.inputs import load_data, recalibration
from dεps.nets.files import load_supernet
from dεps.planning.check import compose_params
from dεps.report.results import all_results
from dεps.report.tables import summary
from dεps.spaces.space import SearchSpace
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from dεps.workspace.stage import Context
from pipelines import evaluate, full_model, train
from tests.conftest import ROOT

METHODS = ("deps", "compofa")
OVERRIDES = [
    "space@experiments.quick.space=mbv3_micro",
    "experiments.quick.methods.compofa.kernels=[3,5,3]",
    "dataset@experiments.quick.dataset=image_folder",
    *(f"experiments.quick.dataset.{key}" for key in ("name=drawn", "root=unused", "image_size=28", "channels=1")),
    *(f"experiments.quick.train.{key}" for key in ("epochs=2", "batch_size=32")),
    # The same images, so that a name must have the same accuracy everywhere.
    *(f"experiments.quick.{key}=40" for key in ("train.validate_recalibration", "evaluate.recalibration_images")),
    "experiments.quick.evaluate.population={buckets: 1, per_bucket: 1}",
    "experiments.quick.full_model.keep=[0.5]",
    "experiments.quick.tuning.trials=0",
    f"methods=[{','.join(METHODS)}]",
    "seeds=[0]",
]


@pytest.mark.slow
def test_smallest_and_largest_are_the_same_archs_everywhere(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(data.folder, "runs/quick/prepare")
    params = compose_params(OVERRIDES, ROOT / "params", Path("params.yaml"))
    for stage, method in ((full_model, None), *((stage, method) for method in METHODS for stage in (train, evaluate))):
        context = Context(stage.__name__.removeprefix("pipelines."), "quick", method, 0, params)
        out = context.folder(context.stage)
        out.mkdir(parents=True)
        stage.work(context, out)
    for method in METHODS:
        taus = {f"predictor/{of}kendall_tau{std}": 0.5 for of in ("", "macs_", "ceiling_") for std in ("", "_std")}
        write_json(Path(f"runs/quick/predict/{method}-0/metrics.json"), taus)
        write_json(Path(f"runs/quick/search/{method}-0/metrics.json"), {"search/front_size": 3})
    names = [f"reference/{name}" for name in ("full_model_top1", "full_model_top1_std", "logistic_regression_top1")]
    write_json(Path("runs/quick/reference/metrics.json"), dict.fromkeys(names, 50.0))
    row = {
        "standalone": "smallest",
        "name": "smallest",
        "arch": "a",
        "seed": 0,
        "macs": 1,
        "params": 1,
        "test_top1": 50.0,
    }
    pd.DataFrame([row]).to_csv("runs/quick/reference/standalone.csv", index=False)
    write_json(Path("runs/quick/standalone/smallest-0/summary.json"), {"cost/train_tmacs": 0.1})

    (results,) = all_results(params)
    space = structured(SearchSpace, params["experiments"]["quick"]["space"], "space")
    table = summary(results).set_index("method")
    store = Store()
    sync(params, store)
    runs = {run.info.run_name: run for run in store.client.search_runs([store.experiment_id("quick")])}
    points = {"deps": space.pareto_archs(), "compofa": space.couple([3, 5, 3]).pareto_archs()}
    assert next(iter(points["deps"])) == "D1E2K5"
    for method in METHODS:
        net = load_supernet(Path(f"runs/quick/train/{method}-0/supernet.safetensors"))
        context = Context("evaluate", "quick", method, 0, params)
        prepared = load_data(context)
        images = recalibration(context, prepared, 40)
        archs = pd.read_csv(f"runs/quick/evaluate/{method}-0/pareto.csv").set_index("arch")
        record = read_records(Path(f"runs/quick/train/{method}-0/history.jsonl"), "epoch")[-1]
        logged = runs[f"{method}-0"].data.metrics
        for name, arch in (
            ("smallest", next(iter(points[method].values()))),
            ("largest", [*points[method].values()][-1]),
        ):
            validation, test = (
                top1(net, arch, prepared, part, images) for part in (prepared.validation, prepared.test)
            )
            assert record[f"val/{name}_top1"] == pytest.approx(validation, abs=1e-4)
            assert logged[f"val/{name}_top1"] == record[f"val/{name}_top1"]
            row = archs.loc[str(arch)]
            assert row.pareto
            assert (row.val_top1, row.test_top1) == pytest.approx((validation, test), abs=1e-4)
            assert logged[f"pareto/{name}_top1"] == row.test_top1
            assert logged[f"pareto/{name}_macs"] == row.macs
            label = {"deps": "DεpS", "compofa": "CompOFA †"}[method]
            assert table.loc[label, f"{name} (%)"] == f"{row.test_top1:.2f}"
    # The arch that the sandwich calls its smallest is beside the points, under its own name; CompOFA has none such.
    for method, others in (("deps", {"D1E2K3": str(space.smallest())}), ("compofa", {})):
        rows = pd.read_csv(f"runs/quick/evaluate/{method}-0/pareto.csv")
        assert dict(rows[~rows.pareto][["name", "arch"]].to_numpy()) == others
        assert dict(rows[rows.pareto][["name", "arch"]].to_numpy()) == {n: str(a) for n, a in points[method].items()}
