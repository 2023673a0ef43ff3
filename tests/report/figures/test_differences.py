import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dεps.core.files import read_json, write_json
from dεps.report.figures import cost, differences, pareto
from dεps.report.marks import table
from dεps.report.page import provenance
from dεps.report.registry import registered
from dεps.report.style import colours


def whiskers(axes) -> list[tuple[float, float]]:
    """Ends of each interval, from the top row on."""
    return [tuple(found.get_segments()[0][:, 0]) for container in axes.containers for found in container.lines[2]]


def test_means_and_intervals_are_those_of_pairs_of_seeds(results):
    for seed, top1 in ((0, 74.0), (1, 72.0)):  # DεpS has 75 of both
        path = Path(f"runs/quick/evaluate/rss-{seed}/metrics.json")
        write_json(path, read_json(path) | {"pareto/smallest_top1": top1})
    drawn = differences.draw(results)
    smallest, mean, _ = drawn.axes
    assert [text.get_text() for text in smallest.get_yticklabels()] == ["RSS"]
    (ends,) = whiskers(smallest)  # -1 and -3: -2 ± 12.706 × 1
    assert ends == pytest.approx((-2 - 12.7062, -2 + 12.7062), abs=1e-3)
    assert smallest.containers[0].lines[0].get_xdata() == [-2.0]
    assert sorted(smallest.lines[1].get_xdata()) == [-3.0, -1.0]
    assert mean.containers[0].lines[0].get_color() == colours(results.methods)["rss"]
    answers = table(drawn)
    answers = answers[answers.metric == "smallest"]
    assert answers.runs.tolist() == ["rss-0", "rss-1", "rss-0 rss-1"]
    assert answers.difference.tolist() == [-1.0, -3.0, -2.0]
    assert set(answers.against) == {"DεpS"}


def test_one_seed_has_no_interval(results):
    drawn = differences.draw(replace(results, seeds=[0]))
    assert whiskers(drawn.axes[0]) == []
    assert drawn.axes[0].get_title() == ""
    assert "1 seed" in drawn.get_suptitle()


def test_without_deps_others_are_compared_with_the_first(results):
    own = replace(results, methods=["rss"])
    drawn = differences.draw(own)
    assert "minus that of RSS" in drawn.get_suptitle()
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()] == []


@pytest.fixture
def variant(results):
    """The made-up results with a variant of DεpS."""
    for stage in ("train", "evaluate", "predict", "search"):
        for seed in (0, 1):
            folder = Path("runs/quick", stage)
            shutil.copytree(folder / f"deps-{seed}", folder / f"deps_early-{seed}")
    methods = results.params["methods"]
    params = results.params | {"methods": methods | {"deps_early": {**methods["deps"], "shrink_start": 0.25}}}
    return replace(results, methods=["deps", "deps_early", "rss"], params=params)


def test_variants_of_a_method_are_in_figures_with_a_row_a_method_alone(variant):
    assert [text.get_text() for text in differences.draw(variant).axes[0].get_yticklabels()] == ["DεpS early", "RSS"]
    assert texts(cost.draw(variant).axes[0].get_yticklabels()) == ["DεpS", "DεpS early", "RSS"]
    shown = {figure.name: figure for figure in registered() if not figure.about.variants}
    assert set(shown) == {"pareto", "population", "curves", "search"}
    for figure in shown.values():
        named = texts(figure.draw(variant).legends[0].get_texts())
        assert {"DεpS", "RSS"} <= set(named)
        assert "DεpS early" not in named
        assert not [name for name in provenance.origin(variant, figure).runs if name.startswith("deps_early")]


def test_variants_are_drawn_like_others_where_they_are_all_that_is_compared(variant):
    for methods in (["deps", "deps_early"], ["deps_early", "rss"]):
        own = replace(variant, methods=methods)
        assert own.compared is own
        assert "DεpS early" in texts(pareto.draw(own).legends[0].get_texts())
    assert variant.compared.methods == ["deps", "rss"]


def texts(found) -> list[str]:
    return [text.get_text() for text in found]
