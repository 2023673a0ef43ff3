from pathlib import Path
from shutil import rmtree

import pytest
import torch

from dεps.core.errors import UserError
from dεps.core.tables import records
from dεps.core.tensors import save_tensors
from dεps.report.figures import classes, confusion, examples
from dεps.report.marks import table
from dεps.report.registry import figures, registered
from dεps.workspace.outputs import PICTURES
from tests.report.made_up import write_exports

FOLDER = Path("runs/quick/export/deps-0")


@pytest.fixture
def named(results):
    return results.manifest["classes"]


def test_they_are_drawn_where_there_are_exports(results):
    own = {figure.name for figure in registered() if figure.needs_exports}
    assert own == {"classes", "confusion", "examples"}
    assert own <= {figure.name for figure in figures(results)}
    rmtree(FOLDER)
    assert not own & {figure.name for figure in figures(results)}


def test_classes_are_in_the_order_of_the_largest_subnet(results, named):
    write_exports(FOLDER, named[::-1])
    figure = classes.draw(results)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name} (70)" for name in named[::-1]]
    found = table(figure)
    assert found.groupby("series").size().to_dict() == {"small": len(named), "large": len(named)}
    assert found[found.series == "large"].top1.tolist() == sorted(found[found.series == "large"].top1)


def test_of_many_classes_the_worst_and_the_best(results):
    write_exports(FOLDER, [f"class {number:02d}" for number in range(60)])
    labels = [text.get_text() for text in classes.draw(results).axes[0].get_yticklabels()]
    assert labels == [f"class {number:02d} (70)" for number in [*range(20), *range(55, 60)]]


def test_confusion_is_in_percent_of_the_class(results, named):
    write_exports(FOLDER, named)
    (axes,) = (figure := confusion.draw(results)).axes
    shown = [text.get_text() for text in axes.texts if text.get_text()]
    assert sorted(shown) == sorted(["80", "20"] * len(named))
    answers = table(figure)
    assert answers["of 100"].tolist() == [float(text) for text in shown]  # in the same order
    assert answers[["class", "taken for", "images"]].iloc[0].tolist() == [named[0], named[0], 20]
    (first, second), height = [patch.get_xy() for patch in axes.patches[:2]], axes.patches[0].get_height()
    assert (first, second, height) == ((0, 0), (1, 0), 1)


def test_the_most_confused_pairs_of_many_classes(results, monkeypatch, named):
    write_exports(FOLDER, named)
    monkeypatch.setattr(confusion, "MOST", 1)
    (axes,) = (figure := confusion.draw(results)).axes
    bars, areas = axes.patches[: len(named)], axes.patches[len(named) :]
    assert [round(bar.get_width(), 6) for bar in bars] == [20.0] * len(named)
    assert [area.get_extents().bounds for area in areas] == [bar.get_extents().bounds for bar in bars]
    pairs = [f"{row['class']} → {row['taken for']}" for row in records(table(figure))]
    assert pairs == [text.get_text() for text in axes.get_yticklabels()]
    labels = {text.get_text() for text in axes.get_yticklabels()}
    assert labels == {f"{a} → {b}" for a, b in zip(named, [*named[1:], named[0]], strict=True)}


def test_pictures_with_what_was_answered(results, named):
    write_exports(FOLDER, named)
    texts = [text.get_text() for axes in examples.draw(results).axes for text in axes.texts]
    assert texts == [f"{named[0]}\n→ {named[1]} 90 %", f"{named[0]}\n→ {named[1]} 80 %", f"{named[0]} 20 %"]
    save_tensors({"pictures": torch.zeros(2, 28, 28, 1, dtype=torch.uint8)}, FOLDER / PICTURES)
    del results.__dict__["pictures"]
    with pytest.raises(UserError, match=r"examples\.safetensors has no pictures of examples\.csv; run 'dvc repro'"):
        examples.draw(results)


@pytest.mark.parametrize("names", [["0", "1", "10"], ["NA", "None", "null"]])
def test_classes_may_be_called_like_numbers_or_like_nothing(results, names):
    write_exports(FOLDER, names)
    assert list(dict.fromkeys(results.classes["class"])) == names
    assert set(results.confusion.label) == set(names)
    labels = [text.get_text() for text in classes.draw(results).axes[0].get_yticklabels()]
    assert labels == [f"{name} (70)" for name in names]


def test_they_say_that_they_are_of_one_method_and_seed(results):
    for module in (classes, confusion, examples):
        assert module.draw(results).get_suptitle().endswith(", DεpS, seed 0)")
