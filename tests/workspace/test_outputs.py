import pandas as pd
import pytest
import yaml

from dεps.core.errors import UserError
from dεps.workspace import outputs
from dεps.workspace.outputs import EVALUATED, SHOWN, Metric, Table, evaluated
from tests.conftest import ROOT

TABLES = [value for value in vars(outputs).values() if isinstance(value, Table)]
POINTS = pd.DataFrame({"name": ["smallest", "mid", "largest"], "macs": [1, 2, 4], "val_top1": [40.0, 50.0, 60.0]})
POINTS["test_top1"] = POINTS.val_top1 + 10
ARCHS = pd.DataFrame({"test_top1": [10.0, 40.0, 20.0, 30.0]})


def test_metrics_of_the_evaluation_by_value():
    assert evaluated(POINTS, ARCHS) == {
        "pareto/mean_top1": 61.6667,
        "pareto/mean_val_top1": 51.6667,
        "pareto/smallest_top1": 50.0,
        "pareto/largest_top1": 70.0,
        "pareto/smallest_macs": 1,
        "pareto/largest_macs": 4,
        "population/median_top1": 25.0,
    }


def test_top_5_where_it_was_measured():
    with_top5 = POINTS.assign(test_top5=[90.0 + number for number in range(len(POINTS))])
    found = evaluated(with_top5, ARCHS)
    assert (found["pareto/smallest_top5"], found["pareto/largest_top5"]) == (90.0, 89.0 + len(POINTS))


def test_a_new_metric_is_one_entry(monkeypatch):
    """The stage writes it, and where it is shown it has a column of its own."""
    spread = Metric("pareto/spread", "spread", lambda points, _: points.test_top1.max() - points.test_top1.min())
    monkeypatch.setattr(outputs, "EVALUATED", (*EVALUATED, spread))
    assert evaluated(POINTS, ARCHS)["pareto/spread"] == 20.0


def test_headings_of_the_results_table():
    assert [metric.heading for metric in SHOWN] == [
        *("mean Pareto top-1 (%)", "smallest (%)", "largest (%)", "training (TMACs)", "predictor τ")
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_each_table_is_an_output_of_its_stage(table):
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][table.stage]
    outs = [out for key in ("outs", "plots") for out in stage.get(key, [])]
    named = [next(iter(out)) if isinstance(out, dict) else out for out in outs]
    folder = f"/{table.stage}/${{item.method}}-${{item.seed}}"
    assert any(out.endswith((f"/{table.file}", folder)) for out in named)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_is_written_is_read(tmp_path, table):
    frame = pd.DataFrame({**{key: [1.25, 2.5] for key in table.numbers}, **{key: ["a", "b"] for key in table.texts}})
    table.write(frame, tmp_path)
    pd.testing.assert_frame_equal(table.read(tmp_path), frame)
    with pytest.raises(KeyError, match=f"{table.name} has no column '{table.numbers[0]}'"):
        table.write(frame.drop(columns=table.numbers[0]), tmp_path)
    (tmp_path / table.file).write_text("nothing\n1\n")
    with pytest.raises(UserError, match=f"{table.file} has no column '{table.numbers[0]}'"):
        table.read(tmp_path)
