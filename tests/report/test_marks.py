import pandas as pd
import pytest
from matplotlib.figure import Figure

from dεps.report import marks


@pytest.fixture
def axes():
    return Figure().subplots()


def test_rows_stand_in_the_order_of_the_ids(axes):
    frame = pd.DataFrame({"macs": [1, 2], "top1": [70.123456, 71.0]})
    (late,) = axes.plot([1, 2], [1, 2], "o", label="b")
    (early,) = axes.plot([1, 2], [1, 2], "o", label="a")
    marks.dots(early, "a", frame)
    marks.part(axes.fill_between([1, 2], 0, 1), "b")
    marks.dots(late, "b", frame[1:])
    assert [line.get_gid() for line in (early, late)] == ["dots-0-0", "dots-1-2"]
    assert axes.collections[0].get_gid() == "part-1-1"
    assert marks.table(axes.figure).to_csv(index=False) == "series,macs,top1\na,1,70.1235\na,2,71.0\nb,2,71.0\n"


def test_entries_of_legends_lead_to_their_series(axes):
    (line,) = axes.plot([1], [1], "o", label="DεpS no ramp")
    axes.plot([1], [1], label="else")
    marks.dots(line, "DεpS no ramp", pd.DataFrame({"top1": [1.0]}))
    axes.figure.legend()
    marks.name_legends(axes.figure)
    (legend,) = axes.figure.legends
    assert [handle.get_gid() for handle in legend.legend_handles] == ["key-0-D%CE%B5pS%20no%20ramp", "key-x-else"]


def test_a_figure_that_names_nothing_has_no_table(axes):
    assert marks.table(axes.figure).empty


def test_intervals_are_those_over_seeds():
    rows = [{"macs": 1, "method": "deps", "seed": seed, "test_top1": 70.0 + seed} for seed in (1, 0)]
    (found,) = marks.over_seeds(pd.DataFrame(rows), ["macs", "method"], "test_top1").to_dict("records")
    assert (found["mean"], found["runs"]) == (70.5, "deps-0 deps-1")
    assert (found["low"], found["high"]) == pytest.approx((70.5 - 6.3531, 70.5 + 6.3531), abs=1e-3)  # 12.706 / 2
    (alone,) = marks.over_seeds(pd.DataFrame(rows[:1]), ["macs", "method"], "test_top1").to_dict("records")
    assert (alone["low"], alone["std"]) == (None, 0.0)
