from pathlib import Path

import pandas as pd
import pytest

from dεps.report.figures.pareto import draw
from dεps.report.style import colours
from dεps.spaces.cost import arch_cost
from tests.conftest import load_space
from tests.report.figures.legends import texts


def test_the_pareto_figure_shows_means_over_seeds(results):
    (axes,) = draw(results).axes
    line = next(line for line in axes.lines if line.get_label() == "DεpS")
    assert line.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert line.get_ydata().tolist() == pytest.approx([72.5, 73.5, 74.5, 75.5, 76.5, 77.5])
    diamond = next(line for line in axes.lines if line.get_marker() == "D")
    assert (diamond.get_xdata().tolist(), diamond.get_ydata().tolist()) == ([1], [78.5])
    assert texts(axes.get_legend()) == ["DεpS", "RSS", "arch trained alone", "full model alone"]
    low, high = axes.get_ylim()
    assert all(low < y < high for line in axes.lines for y in line.get_ydata())  # the full model's star too


def test_the_star_is_the_full_model_and_names_are_the_spaces_whatever_a_method_offers(results):
    results.methods[:] = ["rss", "deps"]
    for path in Path("runs/quick/evaluate").glob("rss-*/pareto.csv"):
        pd.read_csv(path)[:3].to_csv(path, index=False)
    (axes,) = draw(results).axes
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    space = load_space("mbv3_micro")
    assert star.get_xdata().tolist() == [arch_cost(space, space.largest(), 2, 1).macs / 1e6]
    assert {text.get_text() for text in axes.texts} == {*space.pareto_archs()}


def test_published_points_stand_beside_ours_where_data_and_space_are_the_papers(results):
    assert "published (±0.05)" not in texts(draw(results).axes[0].get_legend())
    results.params["dataset"]["name"], results.params["space"]["name"] = "cifar10", "mbv3_32"
    (axes,) = draw(results).axes
    assert "published (±0.05)" in texts(axes.get_legend())
    (published,) = [line for line in axes.lines if line.get_linestyle() == "--"]  # of DεpS; there are none of RSS
    assert published.get_color() == colours(["deps"])["deps"]
    assert published.get_markerfacecolor() == "none"
    assert published.get_ydata()[0] == 94.27
