"""The page as a browser shows it: from disk, in light and dark, on a desktop and on a phone."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dεps.report.registry import registered
from tests.tools.browser import DESKTOP, PHONE, screenshots, visit

pytestmark = pytest.mark.slow
#: WCAG's least contrast of text (level AA), and of graphics
TEXT, GRAPHICS = 4.5, 3.0


@pytest.fixture(scope="module")
def address(report_folder) -> str:
    """The page of made-up results with a study."""
    return (report_folder / "reports/index.html").as_uri()


@pytest.fixture(params=["light", "dark", "phone"])
def there(request, browser, address):
    """The page open in one of its appearances; a screenshot of each is kept."""
    viewport = PHONE if request.param == "phone" else DESKTOP
    with visit(browser, address, viewport, color_scheme="dark" if request.param == "dark" else "light") as found:
        yield found
        found.page.screenshot(path=screenshots() / f"report-{request.param}.png", full_page=True)


@pytest.fixture
def page(browser, address):
    with visit(browser, address) as found:
        yield found.page


def test_it_opens_from_disk_without_errors_or_outside_requests(there, address):
    assert there.errors == []
    assert there.failures == []
    assert [url for url in there.requests if not url.startswith("data:")] == [address]


def test_every_figure_is_there_and_nothing_is_wider_than_the_window(there):
    sizes = there.page.eval_on_selector_all(
        ".plot svg", "all => all.map(one => [one.getBoundingClientRect().width, one.getBoundingClientRect().height])"
    )
    assert len(sizes) == len(registered())
    assert all(width > 300 and height > 100 for width, height in sizes)
    assert there.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for text in there.page.locator("h1, h2, h3, p, dd, figcaption").all()[:40]:
        box = text.bounding_box()
        assert box is None or box["x"] + box["width"] <= there.page.viewport_size["width"]


def test_text_and_lines_stand_out_from_their_ground(there):
    page = there.page
    body, card = _colour(page, "body", "backgroundColor"), _colour(page, "figure", "backgroundColor")
    for selector, ground, least in (
        *(("h1", body, TEXT), ("p.soft", body, TEXT), (".files a", body, TEXT), ("figcaption", card, TEXT)),
        *(("figcaption b", card, TEXT), ("tbody td", card, TEXT), (".tiles dd.value", card, TEXT)),
    ):
        assert _contrast(_colour(page, selector, "color"), ground) >= least, selector
    drawn = page.eval_on_selector_all(
        "#quick-pareto svg [style*='--ink']",
        "all => all.map(one => getComputedStyle(one)).map(s => [s.fill, s.stroke])",
    )
    colours = {colour for pair in drawn for colour in pair if colour.startswith("rgb(")} - {"rgb(0, 0, 0)"}
    assert colours
    assert all(_contrast(_rgb(colour), card) >= TEXT for colour in colours)
    methods = page.eval_on_selector_all(".swatch", "all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert all(_contrast(_rgb(colour), card) >= GRAPHICS for colour in methods)


def test_dark_is_dark(browser, address):
    grounds = []
    for scheme in ("light", "dark"):
        with visit(browser, address, color_scheme=scheme) as found:
            grounds.append(_luminance(_colour(found.page, "figure", "backgroundColor")))
    assert grounds[0] > 0.8
    assert grounds[1] < 0.05


def test_a_table_sorts_by_mouse_and_by_keyboard(page):
    table = page.locator("table").filter(has_text="logistic regression").first
    head = table.locator("th").nth(3)  # largest: 83 of the methods, 84 of the full model, 81.25 of the regression
    assert _column(table, 3) == ["83.00", "83.00", "84.00 ± 0.50", "–", "81.25"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _column(table, 3) == ["84.00 ± 0.50", "83.00", "83.00", "81.25", "–"]
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert _column(table, 3) == ["81.25", "83.00", "83.00", "84.00 ± 0.50", "–"]
    first = table.locator("th").first
    first.locator("button").press("Space")
    assert _column(table, 0) == sorted(_column(table, 0))
    assert (first.get_attribute("aria-sort"), head.get_attribute("aria-sort")) == ("ascending", "none")


def test_contents_lead_to_every_section(page):
    links = page.locator("nav a")
    targets = [link.get_attribute("href") for link in links.all()]
    assert {"#summary", "#quick", "#quick-training", "#quick-provenance", "#check"} <= set(targets)
    for target in targets:
        assert page.locator(f"[id='{target[1:]}']").count() == 1
    page.emulate_media(reduced_motion="reduce")  # at once, instead of smoothly
    links.filter(has_text="Ablations").click()
    assert abs(page.locator("#quick-ablations").bounding_box()["y"]) < 100


def test_figures_and_tables_can_be_taken_away(page, address):
    for ending in ("svg", "pdf"):
        with page.expect_download() as waiting:
            page.locator(f"#quick-pareto a[download$='.{ending}']").click()
        assert waiting.value.suggested_filename == f"quick-pareto.{ending}"
        content = Path(waiting.value.path()).read_bytes()
        if ending == "pdf":
            assert content.startswith(b"%PDF")
        else:
            root = ElementTree.fromstring(content)
            assert root.get("width").endswith("pt")
            assert b"var(" not in content
            assert b"#1f2933" in content
    with page.expect_download() as waiting:
        page.locator("#quick-results a[download$='.csv']").click()
    assert Path(waiting.value.path()).read_text().startswith("method,mean Pareto top-1 (%)")


def _column(table, number: int) -> list[str]:
    return [row.locator("td, th").nth(number).inner_text() for row in table.locator("tbody tr").all()]


def _colour(page, selector: str, name: str) -> tuple[float, ...]:
    return _rgb(page.eval_on_selector(selector, f"one => getComputedStyle(one).{name}"))


def _rgb(text: str) -> tuple[float, ...]:
    return tuple(float(number) / 255 for number in re.findall(r"[\d.]+", text)[:3])


def _luminance(colour: tuple[float, ...]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)
