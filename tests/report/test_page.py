import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dεps.core.params import read_params
from dεps.report.kinds import kinds
from dεps.report.page import slug
from dεps.report.provenance import runs
from dεps.report.results import Results, all_results


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
    assert page.count("<svg") == len(kinds(results))
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert used <= set(identifiers)
    assert len(page) < 3e6


def test_every_figure_has_its_files_and_its_provenance(results, page):
    for kind in kinds(results):
        (figure,) = re.findall(rf'<figure id="quick-{kind.name}">.*?</figure>', page, flags=re.DOTALL)
        assert f'aria-label="{kind.alt}"' in figure.replace("&#39;", "'")
        assert kind.title in figure
        (pdf,) = re.findall(r'href="data:application/pdf;base64,([^"]+)" download="[\w-]+\.pdf"', figure)
        folder = Path("reports/experiments/quick")
        assert base64.b64decode(pdf) == (folder / f"{kind.name}.pdf").read_bytes()
        (svg,) = re.findall(r'href="([^"]+\.svg)"', figure)
        assert Path("reports", svg).exists()
        assert all(f"<dt>{what}</dt>" in figure for what in ("Parameters", "Data", "Results", "Runs", "Drawn by"))


def test_every_run_has_a_filter_for_mlflow(results, page):
    for run in runs(results):
        assert f'id="quick-run-{run.name}"' in page
        assert f"tags.\"deps.identity\" = '{run.identity}'" in page


def test_nothing_says_when_or_where_it_was_made(page):
    assert str(Path.cwd()) not in page
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", page)


def test_slugs():
    assert slug("Prediction and search") == "prediction-and-search"
