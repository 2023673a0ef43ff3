from pathlib import Path

from dεps.report.figures.tuning_intermediate import draw
from tests.report.conftest import PRUNED
from tests.tuning.tables import write_study


def test_pruned_trials_end_in_a_cross(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), **PRUNED)
    (axes,) = draw(results).axes
    crosses = sum(line.get_marker() == "x" for line in axes.lines)
    assert crosses == (results.trials.state == "pruned").sum() > 0
