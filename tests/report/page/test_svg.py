import matplotlib.pyplot as plt
import pytest

from dεps.report.page.svg import inline, themed
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
    assert 'xlink:href="#quick-a-' in svg
    assert "url(#quick-a-" in svg


def test_neutral_colours_become_the_pages(file):
    svg = inline(file, "a")
    assert f"var(--ink, {INK})" in svg
    assert f"var(--card, {PAPER})" in svg
    assert 'fill="#' not in svg  # where a custom property would not work
    assert svg.count(INK) == svg.count(f"var(--ink, {INK})")
    assert "#000000" not in svg


def test_colours_of_methods_stay():
    assert themed('<path style="fill: #d55e00"/>') == '<path style="fill: #d55e00"/>'
    assert themed(f'<rect fill="{INK}"/>') == f'<rect style="fill: var(--ink, {INK})"/>'
