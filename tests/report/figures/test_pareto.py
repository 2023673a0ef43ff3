from pathlib import Path

import pandas as pd
import pytest

from dεps.core.files import read_json, write_json
from dεps.core.params import read_params
from dεps.report.figures.pareto import draw
from dεps.report.results import all_results
from dεps.report.style import colours
from dεps.spaces.cost import arch_cost
from tests.conftest import load_space
from tests.report.figures.legends import texts


def test_the_pareto_figure_shows_means_over_seeds(results):
    drawn = draw(results)
    (axes,) = drawn.axes
    line = next(line for line in axes.lines if line.get_label() == "DεpS")
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert line.get_ydata().tolist() == pytest.approx([72.5, 73.5, 74.5, 75.5, 76.5, 77.5])
    diamond = next(line for line in axes.lines if line.get_marker() == "D")
    assert (diamond.get_xdata().tolist(), diamond.get_ydata().tolist()) == ([1], [78.5])
    names = ["DεpS", "RSS", "full model alone", "arch trained alone", "logistic regression"]
    assert texts(drawn.legends[0]) == names
    low, high = axes.get_ylim()
    assert all(low < y < high for line in axes.lines for y in line.get_ydata())  # the full model's star too


def test_logistic_regression_is_a_line_or_words_where_it_would_flatten_all_else(results):
    (axes,) = draw(results).axes
    (line,) = [line for line in axes.lines if line.get_label() == "logistic regression"]
    assert set(line.get_ydata()) == {81.25}
    path = Path("runs/quick/reference/metrics.json")
    write_json(path, read_json(path) | {"reference/logistic_regression_top1": 20.0})
    (axes,) = draw(all_results(read_params())[0]).axes
    assert "logistic regression" not in [line.get_label() for line in axes.lines]  # none where it is not
    (words,) = [text for text in axes.texts if text.get_text() == "logistic regression:\n↓ 20.0, off the axis"]
    lowest = min(y for line in axes.lines for y in line.get_ydata())
    assert axes.get_ylim()[0] < words.xy[1] < lowest
    assert words.get_verticalalignment() == "top"


def test_the_star_is_the_full_model_and_names_are_the_spaces_whatever_a_method_offers(results):
    results.methods[:] = ["rss", "deps"]
    for path in Path("runs/quick/evaluate").glob("rss-*/pareto.csv"):
        pd.read_csv(path)[:3].to_csv(path, index=False)
    (axes,) = draw(results).axes
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    space = load_space("mbv3_micro")
    assert star.get_xdata().tolist() == [arch_cost(space, space.largest(), 2, 1).macs / 1e6]
    assert {text.get_text() for text in axes.texts} == {*space.pareto_archs(), "81.2"}


def test_published_points_stand_beside_ours_where_data_and_space_are_the_papers(results):
    assert "published (±0.05)" not in texts(draw(results).legends[0])
    results.params["dataset"]["name"], results.params["space"]["name"] = "cifar10", "mbv3_32"
    drawn = draw(results)
    (axes,) = drawn.axes
    assert "published (±0.05)" in texts(drawn.legends[0])
    (published,) = [line for line in axes.lines if line.get_linestyle() == "--"]  # of DεpS; there are none of RSS
    assert published.get_color() == colours(["deps"])["deps"]
    assert published.get_markerfacecolor() == "none"
    assert published.get_ydata()[0] == 94.27
