import re

import matplotlib.pyplot as plt
import pytest

from dεps.report.page.svg import inline, share_glyphs, themed
from dεps.report.style import INK, PAPER, STYLE


@pytest.fixture
def file(tmp_path):
    with plt.style.context(STYLE):
        figure, axes = plt.subplots()
        axes.bar([1], [2], hatch="//", facecolor=PAPER, edgecolor=INK)
        figure.savefig(tmp_path / "a.svg", metadata={"Date": None})
        plt.close(figure)
    return tmp_path / "a.svg"


def test_an_element_without_size_and_with_ids_of_its_own(file):
    svg = inline(file, "quick-a")
    head = svg[: svg.index(">")]
    assert head.startswith("<svg")
    assert " width=" not in head
    assert " height=" not in head
    assert "viewBox=" in head
    assert "<metadata" not in svg
    assert 'id="quick-a-figure_1"' in svg
    assert 'href="#quick-a-m' in svg  # a mark
    assert 'href="#DejaVuSans-' in svg
    assert "url(#quick-a-" in svg


def test_neutral_colours_become_the_pages(file):
    svg = inline(file, "a")
    assert f"var(--ink, {INK})" in svg
    assert f"var(--card, {PAPER})" in svg
    assert 'fill="#' not in svg  # where a custom property would not work
    assert svg.count(INK) == svg.count(f"var(--ink, {INK})")
    assert "#000000" not in svg


def test_coordinates_get_two_decimals_and_letters_their_size(file):
    written, svg = file.read_text(), inline(file, "a")
    assert re.search(r"\d\.\d{4}", re.sub(r"scale\([^)]*\)", "", written))
    assert not re.search(r"\d\.\d{3}", re.sub(r"scale\([^)]*\)", "", svg))
    assert re.findall(r"scale\([^)]*\)", svg) == re.findall(r"scale\([^)]*\)", written)
    assert len(svg) < 0.9 * len(written)


def test_a_pages_figures_share_the_shapes_of_letters(file):
    first, second = inline(file, "a"), inline(file, "b")
    page = share_glyphs(first + second)
    shapes = re.findall(r'id="(DejaVu[^"]+)"', page)
    assert len(shapes) == len(set(shapes)) > 5
    assert set(re.findall(r'href="#(DejaVu[^"]+)"', page)) == set(shapes)
    assert page.startswith(first)


def test_colours_of_methods_stay():
    assert themed('<path style="fill: #d55e00"/>') == '<path style="fill: #d55e00"/>'
    assert themed(f'<rect fill="{INK}"/>') == f'<rect style="fill: var(--ink, {INK})"/>'
