"""The MLflow UI in a browser: what `deps track` writes is what its pages show."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from dεps.methods.registry import looks
from dεps.tracking.private import run_link
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from dεps.tracking.ui import comparison
from dεps.tracking.views import POINTS
from tests.conftest import ROOT, quick_params
from tests.tools.browser import browser, screenshots, visit
from tests.tracking.results import write_results

__all__ = ["browser"]
pytestmark = pytest.mark.slow
METHODS = ["deps", "ofa", "compofa", "bignas", "rss", "rss_short"]
WIDE = {"width": 1440, "height": 900}
PATIENCE = 60_000  # ms


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Params, and the store of a result set with a row a method, in a folder that is the working one meanwhile."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        write_results(METHODS)
        params = quick_params() | {"methods": METHODS}
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        store = Store()
        sync(params, store)
        yield params, store


@pytest.fixture(scope="module")
def address(browser, results):
    """Of a running `deps ui`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "deps", "ui", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("ui.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            base = f"http://127.0.0.1:{port}"
            await_answer(base, server)
            yield base
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=20)


def await_answer(base, server):
    until = time.monotonic() + 240
    while time.monotonic() < until:
        assert server.poll() is None, Path("ui.log").read_text()
        try:
            with urlopen(f"{base}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(Path("ui.log").read_text())


@pytest.fixture(scope="module")
def links(results):
    params, store = results
    return comparison(params, store)["quick"]


def own_errors(there):
    """Errors on a page, without those that MLflow's UI has of itself: it asks for users where none are kept."""
    assert [failure for failure in there.failures if failure.startswith(("4", "5"))] == [
        failure for failure in there.failures if failure.endswith("/users/current")
    ]
    # Its charts watch their own size; Chromium says so when a machine is too slow to draw all of them in one frame.
    known = ("404 (Not Found)", "ResizeObserver loop completed with undelivered notifications")
    return [text for text in there.errors if not any(part in text for part in known)]


def open_page(browser, address, link):
    return visit(browser, f"{address}/{link}", WIDE)


def in_sight(page, selector):
    """Texts from top to bottom and left to right: the table's elements come in any order."""
    return page.locator(selector).evaluate_all(
        """all => all.map(one => [one.getBoundingClientRect(), one.innerText])
            .sort(([a], [b]) => a.top - b.top || a.left - b.left).map(([_, text]) => text)"""
    )


def test_the_bare_address_opens_the_comparison_and_nothing_else(browser, address, links):
    with open_page(browser, address, "") as there:
        page = there.page
        page.get_by_text(f"{len(METHODS) + 1} matching runs").wait_for(timeout=PATIENCE)  # and the full model
        assert page.url.partition("/#/")[2].partition("?")[0] == links[1].removeprefix("#/").partition("?")[0]
        title = page.locator("h4", has_text=POINTS)
        title.wait_for(timeout=PATIENCE)
        lines = (
            page.get_by_test_id("experiment-view-compare-runs-card").filter(has=title).locator(".scatterlayer .trace")
        )
        lines.nth(len(METHODS) - 1).wait_for(timeout=PATIENCE, state="attached")
        drawn = {line.evaluate("one => one.querySelector('path').style.stroke") for line in lines.all()}
        assert drawn == {f"rgb{tuple(bytes.fromhex(looks()[method].colour[1:]))}" for method in METHODS}
        cut = "titles => titles.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText)"
        assert page.locator("[data-testid='experiment-view-compare-runs-card'] h4").evaluate_all(cut) == []
        assert not page.get_by_text("Ask questions about your").is_visible()  # the assistant, a quarter of the page
        page.screenshot(path=screenshots() / "mlflow-home.png")
        assert own_errors(there) == []


def test_experiments_are_listed_with_what_they_are(browser, address):
    with open_page(browser, address, "#/experiments") as there:
        row = there.page.get_by_role("row").filter(has_text="quick")
        row.wait_for(timeout=PATIENCE)
        assert "m, 7,000 training images of 2 classes; mbv3_micro" in row.inner_text()
        there.page.screenshot(path=screenshots() / "mlflow-experiments.png")
        assert own_errors(there) == []


def test_the_table_has_a_row_a_method_with_the_summary_columns(browser, address, links):
    with open_page(browser, address, links[0]) as there:
        page = there.page
        page.get_by_text(f"{len(METHODS) + 1} matching runs").wait_for(timeout=PATIENCE)  # and the full model
        page.get_by_text("rss_short-0").wait_for(timeout=PATIENCE)
        page.locator(".ag-center-cols-container [col-id]").first.wait_for(timeout=PATIENCE)
        page.screenshot(path=screenshots() / "mlflow-methods.png")
        columns = ("pareto/mean_top1", "pareto/smallest_top1", "pareto/largest_top1", "cost/train_tmacs")
        # The full model is last, without accuracies of Pareto points.
        cells = {name: in_sight(page, f'.ag-row [col-id="metrics.`{name}`"]')[: len(METHODS)] for name in columns}
        # A method's numbers are larger by one than those of the one before; the best comes first.
        assert cells == {
            "pareto/mean_top1": ["77", "76", "75", "74", "73", "72"],
            "pareto/smallest_top1": ["78", "77", "76", "75", "74", "73"],
            "pareto/largest_top1": ["79", "78", "77", "76", "75", "74"],
            "cost/train_tmacs": ["21", "18", "15", "12", "9", "6"],
        }
        headers = in_sight(page, ".ag-header-cell[col-id^='metrics']")
        assert [text.strip() for text in headers] == list(columns)
        assert own_errors(there) == []


def test_the_comparison_draws_curves(browser, address, links):
    with open_page(browser, address, links[1]) as there:
        page = there.page
        page.locator("h4", has_text="pareto/mean_top1").last.wait_for(timeout=PATIENCE)
        page.mouse.move(1000, 700)
        page.mouse.wheel(0, 900)  # charts are drawn when they are seen
        title = page.locator("h4", has_text="val/smallest_top1")
        title.wait_for(timeout=PATIENCE)
        curves = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=title)
        curves.scroll_into_view_if_needed()
        curves.locator(".scatterlayer .trace").nth(len(METHODS)).wait_for(timeout=PATIENCE, state="attached")
        lines = curves.locator(".scatterlayer .trace path.js-line")
        drawn = {line.get_attribute("d") for line in lines.all()}
        assert len(drawn) == len(METHODS) + 1
        assert all(re.fullmatch(r"M[\d.,]+(L[\d.,]+)+", path) for path in drawn)
        page.screenshot(path=screenshots() / "mlflow-charts.png")
        assert own_errors(there) == []


def test_a_run_shows_its_note_and_figures(browser, address, results):
    _, store = results
    found = store.client.search_runs([store.experiment_id("quick")], "attributes.run_name = 'deps-0'")[0]
    with open_page(browser, address, run_link(found.info.experiment_id, found.info.run_id)) as there:
        page = there.page
        page.get_by_text("DεpS, delayed ε-shrinking").wait_for(timeout=PATIENCE)
        picture = page.locator("img[src^='get-artifact']")
        page.wait_for_function("image => image.naturalWidth", arg=picture.element_handle(), timeout=PATIENCE)
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [256, 64]
        page.get_by_text("Show more").first.click()
        assert page.get_by_text("dvc repro search@quick-deps-0").is_visible()
        page.screenshot(path=screenshots() / "mlflow-run.png", full_page=True)
        page.get_by_role("link", name="figures").click()
        shown = page.locator("img[src^='blob:'], img[src*='get-artifact']").first
        shown.wait_for(timeout=PATIENCE)
        page.wait_for_function("image => image.naturalWidth == 256", arg=shown.element_handle(), timeout=PATIENCE)
        page.screenshot(path=screenshots() / "mlflow-figure.png")
        assert own_errors(there) == []
