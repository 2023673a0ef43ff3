from pathlib import Path

import pytest

from dεps.report.figures import tuning_ramp, tuning_start
from tests.report.figures.legends import line
from tests.tuning.tables import write_study


def test_the_ramp_shows_the_full_models_curve_and_what_each_point_gains(study):
    curve, fronts = tuning_ramp.draw(study).axes
    assert line(curve, "with ramp").get_xdata()[0] == 1  # the trunk's epochs come first
    assert [text.get_text() for text in fronts.texts] == ["+0.5"] * 3
    low, high = line(fronts, "without ramp"), line(fronts, "with ramp")
    assert (high.get_ydata() - low.get_ydata()).tolist() == pytest.approx([0.5] * 3)


def test_published_variants_are_drawn_for_the_papers_data_only(study):
    assert not [line for line in tuning_ramp.draw(study).axes[1].lines if line.get_linestyle() == ":"]
    study.params["dataset"]["name"], study.params["space"]["name"] = "imagenet1k", "mbv3_224"
    with_it, without = [line for line in tuning_ramp.draw(study).axes[1].lines if line.get_linestyle() == ":"]
    assert (with_it.get_ydata() - without.get_ydata()).mean() == pytest.approx(1.9, abs=0.1)
    fronts = tuning_start.draw(study).axes[0]
    assert len([line for line in fronts.lines if line.get_linestyle() == ":"]) == 3


def test_a_study_without_pairs_says_so(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), points=[], trials=3)
    (left, _) = tuning_ramp.draw(results).axes
    assert left.texts[0].get_text() == "the study has no such pair of trials"
