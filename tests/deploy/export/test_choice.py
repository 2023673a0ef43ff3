import pandas as pd
import pytest

from dεps.core.errors import UserError
from dεps.deploy.export.choice import candidates, known_accuracies, most_accurate, worse_than

FRONT = pd.DataFrame(
    {
        "arch": list("abcd"),
        "macs": [1000, 2000, 3000, 4000],
        "params": 1,
        "predicted": [50.0, 60.0, 70.0, 80.0],
        "measured": [55.0, None, None, 90.0],
    }
)


def test_candidates_are_the_best_predictions_and_what_was_measured():
    assert candidates(FRONT, 4000, 2, "--max-macs") == ["d", "c", "a"]
    assert candidates(FRONT, 3999, 1, "--max-macs") == ["c", "a"]
    assert candidates(FRONT, 1000, 5, "--max-macs") == ["a"]


def test_a_budget_below_the_smallest_arch_names_it():
    with pytest.raises(UserError, match=r"--max-macs is 999 MACs; the cheapest arch .* has 1 k \(1,000\)"):
        candidates(FRONT, 999, 2, "--max-macs")


def test_validation_decides_and_of_equals_the_smaller_wins():
    assert known_accuracies(FRONT) == {"a": 55.0, "d": 90.0}
    assert most_accurate(FRONT, ["b", "c"], {"b": 70.0, "c": 65.0}) == "b"
    assert most_accurate(FRONT, ["c", "b"], {"b": 65.0, "c": 65.0}) == "b"


def test_a_larger_model_that_is_worse_is_said_to_be_so_and_whether_it_is_noise():
    found = {"points": -0.5, "error": 0.4, "is_noise": True}
    sure = {"points": -2.0, "error": 0.4, "is_noise": False}
    assert worse_than({"worse_than": {"small": {"test": found}, "medium": {"test": sure}}}) == [
        "is 0.50 ± 0.40 points worse on test than small, which is smaller: within noise",
        "is 2.00 ± 0.40 points worse on test than medium, which is smaller: more than noise",
    ]
    assert worse_than({}) == []
