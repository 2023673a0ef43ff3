import pytest

from benchmarks.growth import Growth
from benchmarks.report import line, markdown
from benchmarks.timing import COST, GAIN, SPEEDUP, Comparison, in_turn


@pytest.mark.parametrize(("kind", "ratio", "reached"), [(COST, 2, False), (SPEEDUP, 0.5, False), (GAIN, 2, True)])
def test_what_a_ratio_says(kind, ratio, reached):
    comparison = Comparison("work", [2, 4, 200], "other", [1, 2, 3], 1.5, kind)
    assert comparison.ratio == ratio
    assert comparison.reached is reached


def test_both_sides_take_turns():
    said = []
    ours, theirs = in_turn(lambda: said.append("a"), lambda: said.append("b"), rounds=2, warmup=1)
    assert said == ["a", "b", "a", "b", "b", "a"]
    assert len(ours) == len(theirs) == 2


def test_the_page_holds_each_line(tmp_path):
    comparison = Comparison("some work", [0.1, 0.2], "the other way", [0.4, 0.8], 2.0, SPEEDUP)
    curve = Growth("steps", [1, 2, 4], "size", [3, 6, 12], "seconds")
    text = markdown([comparison], [curve], tmp_path / "growth.svg")
    row = "| some work | 150 ms (100–200) | the other way | 0.6 s (0.4–0.8) | 4 × faster | ≥ 2 × | reached |"
    assert row in text
    assert "| steps, over size | 1.00 |  |" in text
    assert line(comparison) == "some work: 4 × faster the other way (wanted: ≥ 2 ×)"
