from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from dεps.report.figures.cost import draw
from dεps.report.style import STYLE


def test_costs_are_compared_with_deps(results):
    (axes,) = draw(results).axes
    assert [text.get_text().strip() for text in axes.texts] == ["0.400 (1.00 ×)"] * 2
    results.params["dataset"]["name"], results.params["space"]["name"] = "imagenet1k", "mbv3_224"
    (axes,) = draw(results).axes
    assert axes.texts[0].get_text().strip() == "0.400 (1.00 ×; 1.00 ×)"  # GPU-hours


def test_a_single_method_has_a_bar_of_usual_height(results):
    heights = []
    for methods in (["deps"], ["deps", "rss"]):
        with plt.style.context(STYLE):
            drawn = draw(replace(results, methods=methods))
            drawn.draw_without_rendering()
        heights.append(drawn.axes[0].patches[0].get_window_extent().height)
    assert heights[0] == pytest.approx(heights[1], rel=0.25)
