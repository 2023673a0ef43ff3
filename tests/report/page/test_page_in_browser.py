"""The page as a browser shows it: from disk, in light and dark, on a desktop and on a phone."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest

from dεps.report.registry import registered
from tests.conftest import load_space
from tests.tools.axe import findings
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
    with visit(browser, address, reduced_motion="reduce") as found:  # it scrolls at once, instead of smoothly
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
    inside = "one => [one.scrollWidth - one.clientWidth, one.querySelector('svg').getBoundingClientRect().right]"
    for cut, right in there.page.locator(".plot").evaluate_all(f"all => all.map({inside})"):
        assert cut <= 1
        assert right <= there.page.viewport_size["width"]
    assert there.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for text in there.page.locator("h1, h2, h3, p, dd, figcaption").all()[:40]:
        box = text.bounding_box()
        assert box is None or box["x"] + box["width"] <= there.page.viewport_size["width"]


def test_nothing_keeps_people_out(there, axe):
    for summary in there.page.locator("main details:not([open]) > summary").all()[:20]:
        summary.evaluate("one => one.parentElement.open = true")
    assert findings(there.page, axe) == []


def test_a_claims_verdict_is_in_sight_on_a_phone(browser, address):
    with visit(browser, address, PHONE) as found:
        head = found.page.locator("#claims thead th").nth(1)
        box = head.bounding_box()
        assert head.inner_text().startswith("verdict")
        assert box["x"] + box["width"] <= PHONE["width"]
        command = found.page.locator("#claims td.folded").first
        assert not command.locator("code").is_visible()
        command.locator("summary").press("Enter")
        assert command.locator("code").inner_text().startswith("deps p")


def test_a_table_that_goes_on_says_so_until_its_end(browser, address):
    with visit(browser, address, PHONE) as found:
        table = found.page.locator("#claims .scroll").first
        assert "more" in table.get_attribute("class")
        table.evaluate("one => one.scrollTo(one.scrollWidth, 0)")
        # The page's own policy forbids what waiting for a function needs.
        from playwright.sync_api import expect

        expect(table).not_to_have_class(re.compile(r"\bmore\b"))
        assert table.locator("tbody th").first.bounding_box()["x"] >= 0  # what a row is about stays in sight


def test_on_paper_numbers_and_answers_are_shown_and_tools_are_not(page):
    answers = page.locator("#quick-checklist td").first
    assert not answers.is_visible()
    assert page.locator("#quick-checklist summary").inner_text() == f"Questions and answers ({_rows(page)})"
    page.emulate_media(media="print")
    assert answers.is_visible()
    assert page.locator(".tiles dd.value").first.is_visible()
    for hidden in ("nav", ".files", ".origin", "#claims td.folded", "#quick-provenance details"):
        assert not page.locator(hidden).first.is_visible(), hidden
    cut = page.locator(".scroll").evaluate_all(
        "all => all.filter(one => one.scrollHeight > one.clientHeight + 1).length"
    )
    assert cut == 0  # else it would be printed over what follows


def _rows(page) -> int:
    return page.locator("#quick-checklist tbody tr").count()


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
    links.filter(has_text="Ablations").click()
    assert abs(page.locator("#quick-ablations").bounding_box()["y"]) < 100


def test_figures_and_tables_can_be_taken_away(page, address):
    for ending in ("svg", "pdf", "png", "csv"):
        with page.expect_download() as waiting:
            page.locator(f"#quick-pareto a[download$='.{ending}']").click()
        assert waiting.value.suggested_filename == f"quick-pareto.{ending}"
        content = Path(waiting.value.path()).read_bytes()
        if ending == "pdf":
            assert content.startswith(b"%PDF")
        elif ending == "png":
            assert content.startswith(b"\x89PNG")
            assert int.from_bytes(content[16:20], "big") == 1600
        elif ending == "csv":
            assert content == Path(address[7:]).with_name("experiments").joinpath("quick/pareto.csv").read_bytes()
        else:
            uses = set(re.findall(rb'href="#([^"]+)"', content))
            assert uses <= set(re.findall(rb' id="([^"]+)"', content))
            root = ElementTree.fromstring(content)
            assert root.get("width").endswith("pt")
            assert b"var(" not in content
            assert b"#1f2933" in content
    with page.expect_download() as waiting:
        page.locator("#quick-results a[download$='.csv']").click()
    assert Path(waiting.value.path()).read_text().startswith("method,mean Pareto top-1 (%)")


def _dot(page, series: str):
    """The first dot of a series of the figure of Pareto points, and its place."""
    dot = page.locator(f"#quick-pareto [id^='quick-pareto-dots-{series}-'] use").first
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    return dot, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_a_dot_says_what_it_is_and_how_to_take_it_away(page):
    _, place = _dot(page, "0")
    tip = page.locator("#tip")
    page.mouse.move(*place)
    text = tip.inner_text()
    name, arch = next(iter(load_space("mbv3_micro").pareto_archs().items()))
    assert text.startswith("DεpS")
    assert f"{name} · {arch}" in text
    assert "1.00 M MACs" in text
    assert "72.50 % [66.15, 78.85], 95% interval over 2 seeds on test" in text  # 72 and 73: ± 12.706 × 0.5
    assert "run deps-0 deps-1" in text
    assert f"deps export quick --method deps --seed 0 --arch {arch}" in text
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    page.mouse.click(*place)
    page.mouse.move(5, 5)
    assert tip.get_by_role("button", name="copy").is_visible()  # it stays
    tip.get_by_role("link", name="deps-1").click()
    assert page.url.endswith("#quick-run-deps-1")
    tip.wait_for(state="hidden")


def test_a_tables_cells_stand_in_their_rows(there):
    """Each as high as its row: a class of some other part once laid a column out as a grid."""
    rows = "all => all.map(row => [...row.cells].map(cell => cell.getBoundingClientRect().height))"
    heights = there.page.locator("main table tr").evaluate_all(rows)
    assert len(heights) > 20
    assert all(max(row) - min(row) < 1 for row in heights)


def test_words_are_explained_before_numbers_use_them(page):
    words = page.locator(".glossary dt").all_inner_texts()
    assert {"mean Pareto top-1", "TMACs", "τ", "τ of test accuracy"} <= set(words)
    first = page.locator(".tiles").first
    assert page.locator(".glossary").bounding_box()["y"] < first.bounding_box()["y"]


def test_dots_are_reached_by_keyboard(page):
    page.locator("#quick-pareto .plot").focus()
    tip = page.locator("#tip")
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        seen.append(tip.inner_text().split("\n")[0:3:2])
    assert [series for series, _ in seen] == ["DεpS", "DεpS", "RSS"]
    assert "1.00 M MACs" in tip.inner_text()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('#tip') !== null")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    for _ in range(tip.locator("a, button").count()):
        page.keyboard.press("Tab")
    assert tip.is_hidden()
    assert page.evaluate("document.activeElement === document.querySelector('#quick-pareto .plot')")


def test_whoever_zooms_by_keys_keeps_the_dot_in_sight(page):
    plot = page.locator("#quick-pareto .plot")
    plot.focus()
    for key in ("ArrowRight", *"++++"):
        page.keyboard.press(key)
    seen = set()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        dot, window = page.locator("#quick-pareto .lit").bounding_box(), plot.bounding_box()
        assert window["x"] <= dot["x"] + dot["width"] / 2 <= window["x"] + window["width"]
        assert window["y"] <= dot["y"] + dot["height"] / 2 <= window["y"] + window["height"]
        assert not page.locator("#tip").is_hidden()
        seen.add(page.locator("#tip").inner_text())
    assert len(seen) > 3
    with page.expect_download() as waiting:
        page.locator("#quick-pareto a[download$='.svg']").click()
    whole = page.locator("#quick-pareto .plot svg").get_attribute("data-box")
    assert ElementTree.fromstring(Path(waiting.value.path()).read_bytes()).get("viewBox") == whole


def test_the_legend_switches_methods_off_and_on(page):
    dot, place = _dot(page, "0")
    key = page.locator("#quick-pareto .keys").get_by_role("button", name="DεpS")
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    assert not dot.is_visible()
    page.mouse.move(*place)
    assert "DεpS" not in page.locator("#tip").text_content()
    assert _dot(page, "1")[0].is_visible()
    key.press("Enter")
    assert dot.is_visible()
    marks = page.locator(".keys svg").evaluate_all("all => all.map(one => one.getBBox().width)")
    assert all(width > 0 for width in marks)  # each entry shows its mark


def test_a_figure_zooms_and_moves(page):
    figure = page.locator("#quick-pareto")
    svg = figure.locator(".plot svg")
    dot, _ = _dot(page, "0")
    width = dot.bounding_box()["width"]
    figure.get_by_role("button", name="Zoom in").click()
    assert dot.bounding_box()["width"] == pytest.approx(1.5 * width, rel=0.1)
    before = svg.get_attribute("viewBox")
    box = svg.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 50)
    page.mouse.up()
    assert svg.get_attribute("viewBox") != before
    figure.get_by_role("button", name="The whole figure").click()
    assert dot.bounding_box()["width"] == pytest.approx(width, rel=0.01)


def test_a_zoomed_figure_has_axes_in_sight_that_tell_the_dots_values(page, report_folder):
    figure = page.locator("#quick-pareto")
    plot, ruler = figure.locator(".plot"), figure.locator(".ruler text")
    assert ruler.count() == 0
    for _ in range(3):
        figure.get_by_role("button", name="Zoom in").click()
    for one in ruler.all():
        box, window = one.bounding_box(), plot.bounding_box()
        assert window["x"] - 1 <= box["x"]
        assert box["x"] + box["width"] <= window["x"] + window["width"] + 1
        assert window["y"] <= box["y"] + box["height"] / 2 <= window["y"] + window["height"]
    assert figure.locator(".tick").first.evaluate("one => getComputedStyle(one).visibility") == "hidden"
    read = "all => all.map(one => [one.textContent, ...['text-anchor', 'x', 'y'].map(key => one.getAttribute(key))])"
    found = ruler.evaluate_all(read)
    ticks = [(float(text.replace("−", "-")), anchor == "middle", (float(x), float(y))) for text, anchor, x, y in found]
    drawn = figure.locator("[id^='quick-pareto-dots-0'] use").evaluate_all(
        "all => all.map(one => ['x', 'y'].map(key => Number(one.getAttribute(key))))"
    )
    rows = pd.read_csv(report_folder / "reports/experiments/quick/pareto.csv").query("series == 'DεpS'")
    for below, place, values in (True, 0, rows.macs / 1e6), (False, 1, rows.top1):
        (first, at), *_, (last, end) = [(value, where[place]) for value, own, where in ticks if own == below]
        told = [first + (last - first) / (end - at) * (dot[place] - at) for dot in drawn]
        assert told == pytest.approx(values.tolist(), abs=0.02)
    figure.get_by_role("button", name="The whole figure").click()
    assert ruler.count() == 0
    assert figure.locator(".tick").first.is_visible()


def test_words_that_are_ticks_stay_in_sight_too(page):
    figure = page.locator("#quick-cost")
    for _ in range(3):
        figure.get_by_role("button", name="Zoom in").click()
    word, window = figure.locator(".ruler .word").first.bounding_box(), figure.locator(".plot svg").bounding_box()
    assert 0 < word["x"] - window["x"] < 20


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
