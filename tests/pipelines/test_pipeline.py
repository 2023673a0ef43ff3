"""The whole pipeline in a copy of the project, in miniature, by the commands that users type."""

import json
import shutil
import time

import pandas as pd
import pytest

from tests.pipelines.clone import OVERRIDES, Clone, ran
from tests.tools.crash import crash

pytestmark = pytest.mark.slow
#: a stage late in the pipeline, on which little depends
TARGET = "search@quick-deps-0"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A copy in which everything has run once."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.output = clone.call("dvc", "repro")
    return clone


def test_everything_is_made_and_tracked(clone):
    assert len(ran(clone.output)) == 1 + 1 + 1 + 1 + 1 + 5 * 2 + 1 + 3
    assert "8 runs in sqlite" in clone.output
    shown = clone.call("deps", "show")
    assert "RSS" in shown
    assert "report: reports/index.html" in shown
    metrics = json.loads((clone.folder / "runs/quick/evaluate/deps-0/metrics.json").read_text())
    assert metrics["pareto/largest_top1"] > 25.0
    assert (clone.folder / "mlflow.db").exists()
    models = json.loads((clone.folder / "runs/quick/export/deps-0/models.json").read_text())
    assert all(model["onnx"]["file_top1"] == model["onnx"]["torch_top1"] for model in models.values())


def test_nothing_is_left_to_do(clone):
    assert ran(clone.call("dvc", "repro")) == set()
    assert "8 runs in sqlite" in clone.call("deps", "track")


def test_dvc_shows_metrics_and_plots(clone):
    shown = clone.call("dvc", "metrics", "show")
    assert all(f"{method}.{key}" in shown for method in ("deps", "rss") for key in ("mean_top1", "train_tmacs"))
    rows = clone.call("deps", "exp", "--csv").splitlines()
    assert "rss.smallest_top1" in rows[0]
    columns, plain = (text.split(",") for text in (rows[0], clone.call("dvc", "exp", "show", "--csv").splitlines()[0]))
    # this copy's params differ from its commit's in two dozen values, each of which has a column
    assert len(columns) <= 20 + len(OVERRIDES) < len(plain)
    clone.call("dvc", "plots", "diff", "--show-vega", "--targets", "runs/quick/evaluate/deps-0/pareto.csv")


def test_finished_seeds_are_published(clone):
    output = clone.call("deps", "publish", "quick")
    assert output.startswith("reports/published/quick/seed-0: written, ")
    runs = pd.read_csv(clone.folder / "reports/published/quick/seed-0/runs.csv").set_index("method")
    assert list(runs.index) == ["full_model", "standalone-smallest", "deps", "rss"]
    assert runs.notna().loc[:, "machine":"identity"].all(axis=None)
    metrics = json.loads((clone.folder / "runs/quick/evaluate/rss-0/metrics.json").read_text())
    assert runs.loc["rss", "pareto/mean_top1"] == metrics["pareto/mean_top1"]
    assert "seed-0: as it was, " in clone.call("deps", "publish", "quick", "--seeds", "0")
    clone.call("deps", "params", *OVERRIDES, "experiments.quick.search.generations=5")
    output = clone.call("deps", "publish", "quick", check=False)
    assert "error: seed 0 of quick is not finished: search@quick-deps-0, search@quick-rss-0 have not run" in output
    clone.call("deps", "params", *OVERRIDES)
    shutil.rmtree(clone.folder / "reports/published/quick")  # of which tests below know nothing


def test_dvc_experiments_compose_by_themselves(clone):
    overrides = [
        part for override in (*OVERRIDES, "experiments.quick.search.generations=4") for part in ("-S", override)
    ]
    output = clone.call("dvc", "exp", "run", *overrides, TARGET)
    assert ran(output) == {"check", TARGET}
    assert "deps.mean_top1" in clone.call("dvc", "exp", "show", "--csv")
    clone.call("deps", "params", *OVERRIDES)
    clone.repro(TARGET)


def test_queued_experiments_run_side_by_side(clone):
    overrides = [part for override in OVERRIDES for part in ("-S", override)]
    for generations in (4, 5):
        change = f"experiments.quick.search.generations={generations}"
        clone.call(
            "dvc", "exp", "run", "--queue", "--name", f"generations-{generations}", *overrides, "-S", change, TARGET
        )
    clone.call("dvc", "queue", "start", "-j", "2")
    until = time.monotonic() + 300
    while "Queued" in (status := clone.call("dvc", "queue", "status")) or "Running" in status:
        assert time.monotonic() < until, status
        time.sleep(2)
    assert status.count("Success") == 2, status + clone.call("dvc", "queue", "logs", "generations-4")
    shown = clone.call("dvc", "exp", "show", "--csv")
    assert "generations-4" in shown
    assert "generations-5" in shown


def test_another_clone_killed_now_and_then_gives_the_same_outputs(clone, tmp_path):
    assert crash(tmp_path, kills=4, seed=1, reference=clone).total() == 4


def test_a_change_reruns_what_it_touches(clone):
    clone.call("deps", "params", *OVERRIDES, "experiments.quick.methods.rss.label_smoothing=0.05")
    assert clone.repro() == {
        "check",
        "train@quick-rss-0",
        "evaluate@quick-rss-0",
        "predict@quick-rss-0",
        "search@quick-rss-0",
        "export@quick-rss-0",
        "report@quick",
        "page",
        "track",
    }
    path = clone.folder / "dεps/report/figures/pareto.py"
    path.write_text(path.read_text().replace('"Pareto points"', '"Points"'))
    always = {"check", "report@quick", "page", "track"}  # they stand on all of this code, and train nothing
    assert clone.repro() == always
    path = clone.folder / "dεps/methods/rss.py"
    path.write_text(f"{(before := path.read_text())}# edited\n")
    assert clone.repro() == {*always, "train@quick-rss-0"}  # with the same weights, nothing follows
    path.write_text(before)
    # Back to the first parameters: nothing is trained, the results come from DVC's cache.
    clone.call("deps", "params", *OVERRIDES)
    assert not any(stage.startswith("train") for stage in ran(clone.call("dvc", "repro", "evaluate@quick-rss-0")))


def test_the_studys_best_parameters_give_its_number(clone):
    trials = pd.read_csv(clone.folder / "runs/quick/tune/trials.csv")
    metrics = clone.folder / "runs/quick/evaluate/deps-0/metrics.json"
    assert json.loads(metrics.read_text())["pareto/mean_val_top1"] == trials[trials.point == "base"].val_top1.iloc[0]
    clone.call("deps", "params", *OVERRIDES, "+from=runs/quick/tune/best.yaml")
    clone.repro("evaluate@quick-deps-0")
    assert ran(clone.call("dvc", "repro", "--dry", "--single-item", "tune@quick")) == set()
    assert json.loads(metrics.read_text())["pareto/mean_val_top1"] == trials[trials.best].val_top1.iloc[0]
    clone.call("deps", "params", *OVERRIDES)
    clone.repro()  # all of it is as it was, for the tests below


def test_workers_join_a_study_and_an_unreachable_one_starts_nothing(clone):
    output = clone.call("deps", "tune", "--workers", "2", "--trials", "5")
    assert "trials: 5" in output
    assert clone.repro() == set()
    url = "postgresql://me:geheim@127.0.0.1:1/db"
    output = clone.call("deps", "tune", "--storage", url, check=False)
    assert "error: the study's storage postgresql://me:***@127.0.0.1:1/db cannot be used" in output
    assert "geheim" not in output
    assert "Traceback" not in output


def test_a_wrong_value_stops_the_stage_with_one_line(clone):
    path = clone.folder / "params.yaml"
    path.write_text(path.read_text().replace("shrink_start: 0.5", "shrink_start: 7", 1))
    weights = clone.folder / "runs/quick/train/deps-0/supernet.safetensors"
    before = weights.read_bytes()
    output = clone.call("dvc", "repro", check=False)
    assert ran(output) == {"check"}
    assert "error: experiments.quick.methods.deps.shrink_start is 7; expected 0 to 1" in output
    assert "Traceback" not in output
    assert weights.read_bytes() == before
