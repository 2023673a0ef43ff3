from pathlib import Path

import pandas as pd
import pytest

from dεps.report import figures, training
from dεps.report.kinds import GROUPS
from dεps.report.style import FULL, colours
from dεps.spaces.cost import arch_cost
from tests.conftest import load_space


def texts(legend) -> list[str]:
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("kind", [kind for group in GROUPS.values() for kind in group], ids=lambda kind: kind.name)
def test_every_figure_names_its_seeds(results, kind):
    figure = kind.draw(results)
    title = figure.get_suptitle() or figure.axes[0].get_title(loc="left")
    assert "2 seeds" in title or kind.name == "strips"
    assert kind.alt
    assert kind.note.endswith(".")


def test_the_pareto_figure_shows_means_over_seeds(results):
    (axes,) = figures.pareto(results).axes
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
    (axes,) = figures.pareto(results).axes
    (star,) = [line for line in axes.lines if line.get_marker() == "*"]
    space = load_space("mbv3_micro")
    assert star.get_xdata().tolist() == [arch_cost(space, space.largest(), 2, 1).macs / 1e6]
    assert {text.get_text() for text in axes.texts} == {*space.pareto_archs()}


def test_published_points_stand_beside_ours_where_data_and_space_are_the_papers(results):
    assert "published (±0.05)" not in texts(figures.pareto(results).axes[0].get_legend())
    results.params["dataset"]["name"], results.params["space"]["name"] = "cifar10", "mbv3_32"
    (axes,) = figures.pareto(results).axes
    assert "published (±0.05)" in texts(axes.get_legend())
    (published,) = [line for line in axes.lines if line.get_linestyle() == "--"]  # of DεpS; there are none of RSS
    assert published.get_color() == colours(["deps"])["deps"]
    assert published.get_markerfacecolor() == "none"
    assert published.get_ydata()[0] == 94.27


def test_population_lines_are_medians_per_bucket_and_method(results):
    (axes,) = figures.population(results).axes
    expected = results.population.groupby(["method", "bucket"]).test_top1.median()
    for method in results.methods:
        line = next(line for line in axes.lines if line.get_color() == colours([method])[method])
        assert line.get_ydata().tolist() == pytest.approx(expected[method].tolist())
    assert "up to 4 archs a" in axes.get_legend().get_title().get_text()
    bars = axes.containers[0].lines[2][0].get_segments()
    quarters = (
        results.population[results.population.method == "deps"].groupby("bucket").test_top1.quantile([0.25, 0.75])
    )
    assert bars[0][:, 1].tolist() == pytest.approx(quarters[0].tolist())


def test_published_medians_stand_beside_ours_in_their_own_space(results):
    results.params["dataset"]["name"], results.params["space"]["name"] = "cifar100", "mbv3_32_rss"
    (axes,) = figures.population(results).axes
    assert texts(axes.get_legend()) == ["DεpS", "RSS", "published (±0.05)"]
    (published,) = [line for line in axes.lines if line.get_linestyle() == "--"]  # of RSS; there are none of DεpS
    assert published.get_color() == colours(["rss"])["rss"]
    assert published.get_xdata().tolist() == [4, 6, 8, 10, 12, 14]
    assert published.get_ydata()[0] == 51.9
    assert "published (±0.05)" not in texts(figures.pareto(results).axes[0].get_legend())


def test_a_panel_a_method_with_its_tau(results):
    deps, rss = figures.predictor(results).axes
    assert deps.get_title(loc="left").endswith("τ = 0.50 ± 0.10")
    assert rss.lines[1].get_ydata().tolist() == [70.5, 70.9] * 2
    assert deps.texts[0].get_text() == "MACs 0.25\nceiling 0.75\nn = 4"


def test_costs_are_compared_with_deps(results):
    (axes,) = training.cost(results).axes
    assert [text.get_text().strip() for text in axes.texts] == ["0.400 (1.00 ×)"] * 2
    results.params["dataset"]["name"], results.params["space"]["name"] = "imagenet1k", "mbv3_224"
    (axes,) = training.cost(results).axes
    assert axes.texts[0].get_text().strip() == "0.400 (1.00 ×; published GPU-hours 1.00 ×)"


def test_curves_have_a_panel_an_arch(results):
    largest, smallest = training.curves(results).axes
    assert len(largest.lines) == 3  # the full model too
    assert len(smallest.lines) == 2
    assert largest.lines[0].get_color() == FULL
    assert largest.lines[1].get_ydata().tolist() == [60.5, 65.5, 70.5, 75.5]


def test_the_timeline_is_drawn_from_records_and_params(results):
    (axes,) = training.timeline(results).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["full model", "DεpS", "RSS"]
    wedge = axes.collections[0].get_paths()[0].vertices
    assert wedge[:, 0].min() == 2
    assert 2.5 in wedge[:, 0]  # ramp_epochs
