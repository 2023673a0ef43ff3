from pathlib import Path

import pandas as pd
import pytest

from dεps.core.errors import UserError
from dεps.report.figures.strips import FULL_HEIGHT, PALEST, STRONGEST, chosen, draw
from dεps.report.marks import table
from dεps.report.style import colours
from tests.conftest import load_space
from tests.report.made_up import SEARCHED


def front(measured) -> pd.DataFrame:
    count = len(measured)
    archs = [SEARCHED[0]] * count
    return pd.DataFrame({"arch": archs, "macs": range(count), "predicted": range(count), "measured": measured})


def test_measured_archs_are_chosen_from_end_to_end():
    assert [strip.top1 for strip in chosen(front([5, None, 6, 7, 8, 9]))] == [5, 7, 9]
    assert [strip.top1 for strip in chosen(front([None, 4, None]))] == [4]


def test_a_front_without_measurements_shows_what_was_predicted():
    strips = chosen(front([None] * 5))
    assert [strip.top1 for strip in strips] == [0, 2, 4]
    assert not any(strip.measured for strip in strips)


def test_a_block_a_layer_with_its_kernel_strength_and_height(results):
    (axes,) = (figure := draw(results)).axes
    # Two methods, of each the first and the third arch, which were measured: 3 and 9 layers; and their areas.
    assert len(axes.patches) == 2 * (3 + 9) + 4
    answers = table(figure)
    assert answers.arch.tolist() == [SEARCHED[0], SEARCHED[2]] * 2
    assert answers.series.tolist() == ["DεpS"] * 2 + ["RSS"] * 2
    assert (answers.macs[0], answers.top1[0], answers.of[0]) == (1_000_000, 69.0, "validation")
    assert answers.runs.tolist() == ["deps-0"] * 2 + ["rss-0"] * 2
    assert len(axes.lines) == 2 * 6  # layers that the first leaves out
    small, large = axes.patches[0], axes.patches[3]
    assert abs(small.get_height()) == pytest.approx(FULL_HEIGHT * 2 / 4)
    assert abs(large.get_height()) == pytest.approx(FULL_HEIGHT)
    assert (small.get_alpha(), large.get_alpha()) == (PALEST, STRONGEST)
    written = [text.get_text() for text in axes.texts]
    assert written.count("3") == 2 * 3
    assert written.count("5") == 2 * 9
    assert [text for text in written if text.startswith("stage")] == ["stage 1", "stage 2", "stage 3"]
    assert written[written.index("1.00") :][:2] == ["1.00", "69.0"]
    assert axes.patches[12].get_facecolor()[:3] == pytest.approx(_rgb(colours(["rss"])["rss"]))


def test_the_image_size_is_shown_where_it_is_elastic(results):
    results.params["space"]["resolution"] = [20, 28]
    written = [text.get_text() for text in draw(results).axes[0].texts]
    assert written.count("28 px") == 4


def _rgb(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


@pytest.mark.parametrize("name", ["mbv3_224", "proxyless_224", "resnet50d_224"])
def test_every_space_can_be_drawn(results, name):
    from dataclasses import asdict

    space = load_space(name)
    results.params["space"] = {key: value for key, value in asdict(space).items() if value is not None}
    for path in Path("runs/quick/search").rglob("front.csv"):
        archs = [str(arch) for arch in (space.smallest(), space.restrict([3], [5], [4]).largest(), space.largest())]
        pd.read_csv(path).assign(arch=archs, measured=[1.0, 2.0, 3.0]).to_csv(path, index=False)
    (axes,) = draw(results).axes
    layers = [sum(arch.depths) for arch in (space.smallest(), space.restrict([3], [5], [4]).largest(), space.largest())]
    assert len(axes.patches) == 2 * (sum(layers) + 3)


@pytest.mark.parametrize("text", ["a", "k3e2_k3e2_r28", "k9e2_k3e2_k3e2_r28"])
def test_an_arch_of_another_space_is_refused_with_its_file(results, text):
    path = Path("runs/quick/search/rss-0/front.csv")
    path.write_text(path.read_text().replace(SEARCHED[1], text))
    with pytest.raises(UserError, match=rf"search/rss-0/front\.csv: column 'arch' holds '{text}'"):
        draw(results)
