from dεps.report.figures.tuning_start import draw
from tests.report.figures.legends import line, texts


def test_shrink_starts_have_a_front_each(study):
    drawn = draw(study)
    fronts, starts = drawn.axes
    assert texts(drawn.legends[0])[:3] == ["start 25%", "start 50%", "start 75%"]
    assert line(fronts, "start 50%").get_xydata().tolist() == [[1.0, 74.5], [2.0, 79.5], [3.0, 84.5]]
    assert line(starts, "mean Pareto").get_xydata().tolist() == [[25.0, 78.25], [50.0, 79.5], [75.0, 78.25]]
