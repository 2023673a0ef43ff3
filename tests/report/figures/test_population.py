from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from dεps.report.figures import pareto, population
from dεps.report.style import colours
from tests.report.figures.legends import texts


def test_population_lines_are_medians_per_bucket_and_method(results):
    (axes,) = population.draw(results).axes
    expected = results.population.groupby(["method", "bucket"]).test_top1.median()
    for method in results.methods:
        line = next(line for line in axes.lines if line.get_color() == colours([method])[method])
        assert line.get_ydata().tolist() == pytest.approx(expected[method].tolist())
    bars = next(shape for shape in axes.collections if isinstance(shape, LineCollection)).get_segments()
    quarters = (
        results.population[results.population.method == "deps"].groupby("bucket").test_top1.quantile([0.25, 0.75])
    )
    assert bars[0][:, 1].tolist() == pytest.approx(quarters[0].tolist())


def test_bands_are_the_standard_deviation_of_medians_over_seeds(results):
    (axes,) = population.draw(results).axes
    own = results.population[results.population.method == "deps"]
    medians = own.groupby(["bucket", "seed"]).test_top1.median().unstack()
    first, _ = bands = _bands(axes)
    left = first[first[:, 0] == first[:, 0].min()]
    assert len(bands) == len(results.methods)
    assert np.ptp(left[:, 1]) == pytest.approx(2 * np.std(medians.loc[0], ddof=1))
    (axes,) = population.draw(replace(results, seeds=[0])).axes
    assert _bands(axes) == []


def _bands(axes) -> list[np.ndarray]:
    """Corners of each filled area."""
    return [shape.get_paths()[0].vertices for shape in axes.collections if isinstance(shape, PolyCollection)]


def test_published_medians_stand_beside_ours_in_their_own_space(results):
    results.params["dataset"]["name"], results.params["space"]["name"] = "cifar100", "mbv3_32_rss"
    drawn = population.draw(results)
    (axes,) = drawn.axes
    assert texts(drawn.legends[0]) == ["DεpS", "RSS", "published (±0.05)"]
    (published,) = [line for line in axes.lines if line.get_linestyle() == "--"]  # of RSS; there are none of DεpS
    assert published.get_color() == colours(["rss"])["rss"]
    assert published.get_xdata().tolist() == [4, 6, 8, 10, 12, 14]
    assert published.get_ydata()[0] == 51.9
    assert "published (±0.05)" not in texts(pareto.draw(results).legends[0])
