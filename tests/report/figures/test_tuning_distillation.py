from dataclasses import replace
from pathlib import Path

from dεps.report.figures.tuning_distillation import draw
from tests.report.figures.legends import line, texts


def test_distillation_is_set_against_none_and_against_from_scratch(study):
    drawn = draw(study)
    curve, fronts = drawn.axes
    assert texts(drawn.legends[0]) == ["with distillation", "without distillation"]
    assert [text.get_text() for text in fronts.texts] == ["+2.0"] * 3
    for source in ("train", "evaluate"):
        for path in Path("runs/quick", source).glob("rss-*"):
            path.rename(path.with_name(path.name.replace("rss", "bignas")))
    curve, fronts = draw(replace(study, methods=["deps", "bignas"])).axes
    label = "from scratch, as BigNAS (cosine)"
    assert line(curve, label).get_ydata().tolist() == [40, 49, 58, 67]
    assert line(fronts, label).get_ydata().tolist() == [70] * 6
