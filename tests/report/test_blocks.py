"""Tables between two lines of a Markdown file."""

import pytest

from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.report.blocks import END, write_results
from dεps.report.publishing.publish import publish
from dεps.report.publishing.results import published_results
from tests.tools.published import write_project


@pytest.fixture
def published(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    list(publish(read_params(), "quick", [], lambda names: set()))
    return published_results()


def written(tmp_path, published, text: str) -> str:
    path = tmp_path / "page.md"
    path.write_text(text, "utf-8")
    write_results(path, published)
    return path.read_text("utf-8")


def test_a_table_stands_between_the_lines_and_nothing_else_changes(tmp_path, published):
    line = "<!-- results: quick rss -->"
    first = written(tmp_path, published, f"before\n\n{line}\nwhat was there\n{END}\nafter\n")
    assert first.startswith(f"before\n\n{line}\nquick, published: ")
    assert first.endswith(f"|\n{END}\nafter\n")
    assert "what was there" not in first
    assert "| RSS | " in first
    assert "| DεpS" not in first
    assert written(tmp_path, published, first) == first


def test_each_of_several_has_its_own_methods_in_their_order(tmp_path, published):
    text = f"<!-- results: quick rss deps -->\n{END}\nbetween\n<!-- results: quick deps -->\n{END}\n"
    first, last = written(tmp_path, published, text).split("\nbetween\n")
    assert first.index("| RSS") < first.index("| DεpS")
    assert "| DεpS" in last
    assert "| RSS" not in last


def test_a_table_is_over_the_seeds_that_have_all_of_its_methods(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    params = read_params()
    list(publish(params, "quick", [0], lambda names: set()))
    list(publish(params | {"methods": ["deps"]}, "quick", [1], lambda names: set()))
    both = written(tmp_path, published_results(), f"<!-- results: quick deps rss -->\n{END}\n")
    assert "1 seed;" in both
    assert "not shown" not in both
    assert "2 seeds" in written(tmp_path, published_results(), f"<!-- results: quick deps -->\n{END}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "has not the lines <!-- results: EXPERIMENT METHODS --> and <!-- end of results -->"),
        (f"<!-- results: quick rss -->\nkept\n<!-- results: quick deps -->\n{END}\n", "has not the lines"),
        (f"<!-- results: slow rss -->\n{END}\n", r"page\.md: experiment is 'slow'; allowed: quick"),
        (f"<!-- results: quick ofa -->\n{END}\n", r"page\.md: method is 'ofa'; allowed: deps, rss"),
        (f"<!-- results: quick -->\n{END}\n", "names no methods; expected <!-- results: EXPERIMENT METHODS -->"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_written(tmp_path, published, text, message):
    with pytest.raises(UserError, match=message):
        written(tmp_path, published, text)
    assert (tmp_path / "page.md").read_text("utf-8") == text
