from pathlib import Path

import pytest

from dεps.report import ablations, tuning
from dεps.report.kinds import STUDY_GROUPS
from tests.tuning.tables import write_study

KINDS = [kind for group in STUDY_GROUPS.values() for kind in group]


@pytest.fixture
def study(results, tmp_path):
    """The made-up results with a study of ten trials."""
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    return results


def line(axes, name):
    return next(line for line in axes.lines if line.get_label() == name)


def test_shrink_starts_have_a_front_each(study):
    fronts, starts = ablations.shrink_start(study).axes
    assert [text.get_text() for text in fronts.get_legend().get_texts()] == ["25%", "50%", "75%"]
    assert line(fronts, "50%").get_xydata().tolist() == [[1.0, 74.5], [2.0, 79.5], [3.0, 84.5]]
    assert line(starts, "mean Pareto").get_xydata().tolist() == [[25.0, 78.25], [50.0, 79.5], [75.0, 78.25]]


def test_the_ramp_shows_the_full_models_curve_and_what_each_point_gains(study):
    curve, fronts = ablations.ramp(study).axes
    assert line(curve, "with ramp").get_xdata()[0] == 1  # the trunk's epochs come first
    assert [text.get_text() for text in fronts.texts] == ["+0.5"] * 3
    low, high = line(fronts, "without ramp"), line(fronts, "with ramp")
    assert (high.get_ydata() - low.get_ydata()).tolist() == pytest.approx([0.5] * 3)


def test_distillation_is_set_against_none_and_against_from_scratch(study):
    curve, fronts = ablations.distillation(study).axes
    names = [text.get_text() for text in curve.get_legend().get_texts()]
    assert names == ["with distillation", "without distillation"]
    assert [text.get_text() for text in fronts.texts] == ["+2.0"] * 3
    for source in ("train", "evaluate"):
        for path in Path("runs/quick", source).glob("rss-*"):
            path.rename(path.with_name(path.name.replace("rss", "bignas")))
    from dataclasses import replace

    curve, fronts = ablations.distillation(replace(study, methods=["deps", "bignas"])).axes
    label = "from scratch, as BigNAS (cosine)"
    assert line(curve, label).get_ydata().tolist() == [40, 49, 58, 67]
    assert line(fronts, label).get_ydata().tolist() == [70] * 6


def test_published_variants_are_drawn_for_the_papers_data_only(study):
    assert not [line for line in ablations.ramp(study).axes[1].lines if line.get_linestyle() == ":"]
    study.params["dataset"]["name"], study.params["space"]["name"] = "imagenet1k", "mbv3_224"
    with_it, without = [line for line in ablations.ramp(study).axes[1].lines if line.get_linestyle() == ":"]
    assert (with_it.get_ydata() - without.get_ydata()).mean() == pytest.approx(1.9, abs=0.1)
    fronts = ablations.shrink_start(study).axes[0]
    assert len([line for line in fronts.lines if line.get_linestyle() == ":"]) == 3


def test_a_study_without_pairs_says_so(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), points=[], trials=3)
    for kind in KINDS:
        kind.draw(results)
    (left, _) = ablations.ramp(results).axes
    assert left.texts[0].get_text() == "the study has no such pair of trials"


def test_pruned_trials_end_in_a_cross(results, tmp_path):
    changes = {"objectives": ["accuracy"], "pruner": "asha", "pruner_from": 0.125, "trials": 16}
    write_study(tmp_path / "study", Path("runs/quick/tune"), **changes)
    (axes,) = tuning.intermediate(results).axes
    crosses = sum(line.get_marker() == "x" for line in axes.lines)
    assert crosses == (results.trials.state == "pruned").sum() > 0
    for kind in KINDS:
        kind.draw(results)
