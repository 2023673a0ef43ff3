"""Every registered figure, as it is drawn of made-up results; a new file in `figures` is tested by being there."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from dεps.core.params import read_params
from dεps.report.drawing import WIDTH
from dεps.report.registry import FOLDER, figures, registered, sections
from dεps.report.results import all_results
from dεps.report.style import STYLE
from tests.report.conftest import PRUNED
from tests.tuning.tables import write_study

SVG = "{http://www.w3.org/2000/svg}"
each = pytest.mark.parametrize("figure", registered(), ids=lambda figure: figure.name)


@pytest.fixture(scope="module")
def whole(report_folder):
    """The made-up results with a study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(report_folder)
        yield all_results(read_params())[0]


def test_a_figure_is_a_file():
    assert {figure.file for figure in registered()} == {*FOLDER.glob("*.py")} - {FOLDER / "__init__.py"}
    assert all(figure.name == figure.file.stem for figure in registered())


@each
def test_it_names_its_seeds_and_says_how_to_read_it(whole, figure):
    drawn = figure.draw(whole)
    title = drawn.get_suptitle() or drawn.axes[0].get_title(loc="left")
    assert title.endswith(("2 seeds)", "10 trials, 1 seed)", "seed 0)"))
    assert drawn.axes[0].has_data()
    about = figure.about
    assert about.note.endswith(".")
    assert not about.alt.endswith(".")
    assert about.alt
    assert about.title


@each
def test_its_dots_are_the_rows_of_its_table(whole, figure):
    """In number: the page leads from the nth dot to the nth row."""
    folder = Path("reports/experiments/quick")
    svg = ElementTree.parse(folder / f"{figure.name}.svg")
    groups = [one for one in svg.iter(f"{SVG}g") if one.get("id", "").startswith("dots-")]
    count = sum(len(list(group.iter(f"{SVG}use"))) or 1 for group in groups)
    table = folder / f"{figure.name}.csv"
    rows = len(pd.read_csv(table)) if table.exists() else 0
    assert count == rows
    assert bool(rows) == (figure.name != "examples")  # pictures


@each
def test_nothing_of_it_is_cut_off_or_too_small_to_read(whole, figure):
    """At the width of a phone's page, 336 pixels: 7 points are 7.4 pixels there."""
    with plt.style.context(STYLE):
        drawn = figure.draw(whole)
        for _ in range(2):
            drawn.draw_without_rendering()
    assert drawn.get_figwidth() == WIDTH
    box, height = drawn.get_tightbbox(), drawn.get_figheight()
    assert min(box.x0, box.y0) > -0.1  # ticks just outside the limits count, which are not drawn
    assert box.x1 < WIDTH + 0.03
    assert box.y1 < height + 0.03
    assert all(text.get_fontsize() >= 6.5 for text in drawn.findobj(Text) if text.get_text())


def test_figures_that_compare_methods_need_two(results):
    left_out = {figure.name for figure in figures(results)} - {
        figure.name for figure in figures(replace(results, methods=["deps"]))
    }
    assert left_out == {"differences"}


@each
def test_its_files_are_written_and_what_they_show_is_there(whole, figure):
    assert all(Path(f"reports/experiments/quick/{figure.name}{ending}").exists() for ending in (".svg", ".pdf", ".png"))
    for source in figure.about.sources:
        stage, file = source.split("/")
        assert [*Path("runs/quick", stage).rglob(file)], source


def test_only_an_experiment_with_a_study_has_the_figures_of_one(results, tmp_path):
    left_out = set(registered()) - set(figures(results))
    assert left_out == {figure for figure in registered() if figure.needs_study}
    assert {figure.name for figure in left_out} >= {"tuning_start", "tuning_front"}
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    assert figures(results) == list(registered())


def test_sections_come_in_the_order_of_their_first_figures(whole):
    found = sections(whole)
    assert [figure for group in found.values() for figure in group] == list(registered())
    assert next(iter(found)) == "Accuracy of subnets"
    assert [figure.name for figure in found["Training"]] == ["cost", "timeline", "curves"]


@pytest.mark.parametrize("changes", [{"points": [], "trials": 3}, PRUNED], ids=["of three trials", "with pruned ones"])
def test_every_figure_can_be_drawn_of_any_study(results, tmp_path, changes):
    write_study(tmp_path / "study", Path("runs/quick/tune"), **changes)
    for figure in registered():
        figure.draw(results)
