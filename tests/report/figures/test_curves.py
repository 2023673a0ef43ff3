from dεps.report.figures.curves import draw
from dεps.report.style import FULL


def test_curves_have_a_panel_an_arch(results):
    largest, smallest = draw(results).axes
    assert len(largest.lines) == 3  # the full model too
    assert len(smallest.lines) == 2
    assert largest.lines[0].get_color() == FULL
    assert largest.lines[1].get_ydata().tolist() == [60.5, 65.5, 70.5, 75.5]
