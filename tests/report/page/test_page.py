import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dεps.core.hashing import md5
from dεps.core.params import read_params
from dεps.report.page.page import slug
from dεps.report.page.provenance import origin_of_table, runs
from dεps.report.registry import figures, sections
from dεps.report.results import Results, all_results
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def folder(report_folder) -> Iterator[Path]:
    """The working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(report_folder)
        yield report_folder


@pytest.fixture
def page(folder) -> str:
    return (folder / "reports/index.html").read_text()


@pytest.fixture
def results(folder) -> Results:
    return all_results(read_params(folder / "params.yaml"))[0]


def test_the_page_needs_nothing_else(results, page):
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert page.count("<svg") == len(figures(results))
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert used <= set(identifiers)
    assert len(page) < 3e6


def test_every_figure_has_its_files_and_its_provenance(results, page):
    for figure in figures(results):
        (text,) = re.findall(rf'<figure id="quick-{figure.name}"[^>]*>.*?</figure>', page, flags=re.DOTALL)
        assert f'aria-label="{figure.about.alt}"' in text.replace("&#39;", "'")
        assert figure.about.title in text
        (pdf,) = re.findall(r'href="data:application/pdf;base64,([^"]+)" download="[\w-]+\.pdf"', text)
        folder = Path("reports/experiments/quick")
        assert base64.b64decode(pdf) == (folder / f"{figure.name}.pdf").read_bytes()
        (svg,) = re.findall(r'href="([^"]+\.svg)"', text)
        assert Path("reports", svg).exists()
        assert all(f"<dt>{what}</dt>" in text for what in ("Parameters", "Data", "Results", "Runs", "Made by"))
        ((path, digest),) = re.findall(r'<dt>Made by</dt><dd><code>([^<]+)</code> <code class="id">(\w+)</code>', text)
        assert path == f"dεps/report/figures/{figure.name}.py"
        assert digest == md5(ROOT / path)


def test_tables_and_cards_have_their_provenance_too(results, page):
    for name, what, path in (
        ("highlights", "these numbers", "dεps/report/page/highlights.py"),
        ("results", "the table of results", "dεps/report/tables.py"),
        ("study", "the table of the study", "dεps/report/tables.py"),
    ):
        (text,) = re.findall(rf"<summary>Provenance of {what}</summary>(.*?)</details>", page, flags=re.DOTALL)
        assert f'<dt>Made by</dt><dd><code>{path}</code> <code class="id">{md5(ROOT / path)}</code>' in text
        origin = origin_of_table(results, name)
        assert origin.results
        assert all(
            f'<code>{source}</code> <code class="id">{found}</code>' in text for source, found in origin.results.items()
        )
    assert "Provenance of the claims" in page
    section = page.split('<section id="claims">')[1].split("</section>")[0]
    assert "not tested here; " in section.split("</strong>")[0]


def test_sections_stand_in_the_order_of_their_figures_and_are_in_the_contents(results, page):
    headings = re.findall(r'<h3>([^<]+)</h3>\s*(?:<p>(?:(?!<h3>).)*)?<div class="figures">', page, flags=re.DOTALL)
    assert headings == list(sections(results))
    contents = page[: page.index("<main>")]
    assert all(f'<a href="#quick-{slug(heading)}">{heading}</a>' in contents for heading in headings)
    figures = re.findall(r'<figure id="quick-(\w+)"', page)
    assert figures == [figure.name for found in sections(results).values() for figure in found]


def test_every_run_has_a_filter_for_mlflow(results, page):
    for run in runs(results):
        assert f'id="quick-run-{run.name}"' in page
        assert f"tags.\"deps.identity\" = '{run.identity}'" in page


def test_nothing_says_when_or_where_it_was_made(page):
    assert str(Path.cwd()) not in page
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", page)


def test_slugs():
    assert slug("Prediction and search") == "prediction-and-search"
