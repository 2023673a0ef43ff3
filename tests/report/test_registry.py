"""Every registered figure, as it is drawn of made-up results; a new file in `figures` is tested by being there."""

from pathlib import Path

import pytest

from dεps.core.params import read_params
from dεps.report.registry import FOLDER, figures, registered, sections
from dεps.report.results import all_results
from tests.report.conftest import PRUNED
from tests.tuning.tables import write_study

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
