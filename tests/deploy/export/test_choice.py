import pandas as pd
import pytest

from dεps.core.errors import UserError
from dεps.deploy.export.choice import (
    Cost,
    Limit,
    candidates,
    check_latency,
    known_accuracies,
    most_accurate,
    worse_than,
)

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
    assert candidates(FRONT, Limit(4000), 2, "--max-macs") == ["d", "c", "a"]
    assert candidates(FRONT, Limit(3999), 1, "--max-macs") == ["c", "a"]
    assert candidates(FRONT, Limit(1000), 5, "--max-macs") == ["a"]
    assert candidates(FRONT, Limit(), 1, "--max-params") == ["d", "a"]


def test_a_budget_below_the_smallest_arch_names_it():
    with pytest.raises(
        UserError, match=r"--max-macs is 999 MACs; of the archs that search found the least is 1 k MACs$"
    ):
        candidates(FRONT, Limit(999), 2, "--max-macs")


def test_a_limit_of_latency_alone_and_beside_macs():
    front = FRONT.assign(ms=[0.4, 0.1, 0.3, 0.2])
    assert candidates(front, Limit(ms=0.2), 9, "fast") == ["d", "b"]
    assert candidates(front, Limit(3000, 0.3), 9, "both") == ["c", "b"]
    least = "fast is 0.05 ms; of the archs that search found the least is 0.1 ms$"
    with pytest.raises(UserError, match=least):
        candidates(front, Limit(ms=0.05), 2, "fast")
    least = "both is 1 k MACs and 0.3 ms; of the archs that search found within these MACs the least is 0.4 ms$"
    with pytest.raises(UserError, match=least):
        candidates(front, Limit(1000, 0.3), 2, "both")


def test_milliseconds_of_another_table_or_of_none_are_refused():
    front = FRONT.assign(ms=0.1, latency_table="sha256:" + "0" * 64)
    check_latency(front, "0" * 64, "front.csv")
    for other in (front.drop(columns="latency_table"), front.assign(latency_table="sha256:1")):
        with pytest.raises(UserError, match=r"front\.csv was searched with another latency table, or none; run 'dvc"):
            check_latency(other, "0" * 64, "front.csv")
    for other in (front.drop(columns="ms"), front.assign(ms=[0.1, float("nan"), 0.1, 0.1]), front.assign(ms="fast")):
        with pytest.raises(UserError, match=r"front\.csv has milliseconds that are no finite numbers"):
            check_latency(other, "0" * 64, "front.csv")


def test_what_a_model_may_cost_in_words():
    assert Cost.of({"max_macs": 3000, "arch": "a"}).limits == "at most 3,000 MACs"
    table = {"of": "torch 2 on a phone, 1 thread, batch 1", "unseen_archs": 50, "median_error_percent": 2.14}
    cost = Cost.of({"max_macs": 3000, "max_ms": 0.05, "ms": 0.04, "latency_table": table})
    assert cost.limits == "at most 3,000 MACs and 0.05 ms"
    assert cost.predicted_by == (
        "predicted by a latency table of torch 2 on a phone, 1 thread, batch 1 (median error 2.1 % on 50 unseen archs)"
    )
    with pytest.raises(UserError, match=r"models.json: small.max_ms is 'fast'; expected a number"):
        Cost.of({"max_ms": "fast"}, "models.json: small")


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
