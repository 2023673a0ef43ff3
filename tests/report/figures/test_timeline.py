from dataclasses import replace

import pytest

from dεps.report.figures.timeline import HEIGHT, blocks, draw
from dεps.report.marks import table
from dεps.report.phases import Bar, Span

DEPS = Bar(
    "deps",
    (
        Span("full model", 0, 5, full=True, teacher=False, subnets=1),
        Span("shrinking", 5, 10, True, False, ((5, 0.0), (7, 1.0), (10, 1.0)), 4),
    ),
)
OFA = Bar(
    "ofa",
    (
        Span("full model", 0, 5, full=True, teacher=False, subnets=1),
        Span("depth 1", 5, 10, False, True, ((5, 1.0), (10, 1.0)), 2),
        Span("depth 2", 10, 20, False, True, ((10, 1.0), (20, 1.0)), 2),
    ),
)


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_row_a_method_over_the_longest_ones_epochs():
    (axes,) = blocks([("title", [DEPS, OFA])]).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["DεpS", "OFA"]
    assert axes.get_xlim()[1] > 20
    assert texts(axes).count("10") == 1
    assert texts(axes).count("20") == 1


def test_phases_that_belong_together_are_named_once():
    (axes,) = blocks([("title", [OFA])]).axes
    assert texts(axes).count("depth") == 1
    assert texts(axes).count("full model") == 1
    assert texts(axes).count("2") == 2


def test_names_that_do_not_fit_are_left_out():
    long = Bar("rss", (Span("random subnets", 0, 500, False, False, ((0, 1.0), (500, 1.0)), 1),))
    (axes,) = blocks([("title", [DEPS, long])]).axes
    assert "shrinking" not in texts(axes)
    assert "random subnets" in texts(axes)


def test_the_ramp_is_a_wedge_from_the_full_models_band_to_the_top():
    (axes,) = blocks([("title", [DEPS])]).axes
    (wedge,) = axes.collections
    vertices = wedge.get_paths()[0].vertices
    at = {epoch: vertices[vertices[:, 0] == epoch][:, 1].min() for epoch in (5, 7, 10)}
    assert at[5] > at[7]
    assert at[7] == at[10] == pytest.approx(-HEIGHT / 2)
    assert "wedge" in axes.get_legend().get_texts()[-1].get_text()


def test_each_phase_answers_to_the_pointer():
    figure = blocks([("title", [DEPS, OFA])])
    answers = table(figure)
    assert answers.series.tolist() == ["DεpS"] * 2 + ["OFA"] * 3
    assert answers.phase.tolist() == ["full model", "shrinking", "full model", "depth 1", "depth 2"]
    assert answers.epochs.tolist() == ["0 to 5", "5 to 10", "0 to 5", "5 to 10", "10 to 20"]
    assert answers["full model"].tolist() == ["trains", "trains", "trains", "teaches, frozen", "teaches, frozen"]
    assert answers["networks that a step trains"].tolist() == [1, 4, 1, 2, 2]
    areas = [patch for patch in figure.axes[0].patches if (patch.get_gid() or "").startswith("dots-")]
    assert [(area.get_x(), area.get_width()) for area in areas] == [(0, 5), (5, 5), (0, 5), (5, 5), (10, 10)]


def test_the_legend_names_only_what_is_there():
    (axes,) = blocks([("title", [replace(DEPS, phases=DEPS.phases[:1])])]).axes
    assert len(axes.get_legend().get_texts()) == 1


def test_numbers_that_are_not_known_are_not_drawn():
    spans = tuple(replace(span, subnets=None) for span in DEPS.phases)
    (axes,) = blocks([("title", [Bar("deps", spans)])]).axes
    assert axes.get_xlabel() == "epoch"
    assert "4" not in texts(axes)


def test_the_timeline_is_drawn_from_records_and_params(results):
    (axes,) = draw(results).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["full model", "DεpS", "RSS"]
    wedge = axes.collections[0].get_paths()[0].vertices
    assert wedge[:, 0].min() == 2
    assert 2.5 in wedge[:, 0]  # ramp_epochs
