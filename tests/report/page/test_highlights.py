from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dεps.core.files import read_json, write_json
from dεps.report import quantities
from dεps.report.page.highlights import _difference, _study, certainty, highlights


def values(results):
    return {one.name: (one.value, one.note) for one in highlights(results)}


@pytest.fixture
def with_ofa(results):
    """The made-up results, RSS's taken for OFA's and 1 point worse at the smallest."""
    for path in [*Path("runs/quick").glob("*/rss-*")]:
        path.rename(path.with_name(path.name.replace("rss", "ofa")))
    for seed in (0, 1):
        path = Path(f"runs/quick/evaluate/ofa-{seed}/metrics.json")
        write_json(path, read_json(path) | {"pareto/smallest_top1": 74.0 - seed})
        write_json(Path(f"runs/quick/train/ofa-{seed}/summary.json"), {"cost/train_tmacs": 1.0})
    return replace(results, methods=["deps", "ofa"])


def test_without_ofa_nothing_is_compared_with_it(results):
    assert list(values(results)) == ["DεpS, mean Pareto top-1", "predictor, median τ", "archs measured"]
    value, note = values(results)["DεpS, mean Pareto top-1"]
    assert value == "80.50 ± 0.71 %"
    assert note.startswith("RSS, the highest of the others, 80.50 ± 0.71 %; difference +0.00 [+0.00, +0.00], undecided")
    assert values(results)["archs measured"][0] == f"{6 * 4 + 4 * 4 + 4 * 2}"


def test_differences_are_taken_seed_by_seed_and_are_no_headline_before_they_are_decided(with_ofa):
    found = values(with_ofa)
    value, note = found["DεpS − OFA, smallest"]
    assert value == "undecided"
    assert note.startswith("+1.50 [−4.85, +7.85] points; 2 seeds; about 6 would decide; ")  # 1 and 2: ± 12.706 × 0.5
    assert "; 75.00 against 73.50 ± 0.71 %; " in note
    assert note.endswith("; up to ± 1.38 for the choice of test images")  # sqrt(75 × 25 / 2000 + 73.5 × 26.5 / 2000)
    assert found["DεpS − OFA, largest"][0] == "undecided"
    assert found["training cost, OFA ÷ DεpS"] == ("2.50 ×", "1 against 0.4 TMACs; 95% interval 2.50 to 2.50")


def test_a_difference_that_six_seeds_decide_is_the_headline(with_ofa, monkeypatch):
    tops = [{"method": method, "seed": seed} for method in ("deps", "ofa") for seed in range(6)]
    for row in tops:
        row["pareto/smallest_top1"] = 75.0 + (row["method"] == "deps") * (1 + 0.1 * row["seed"])
    monkeypatch.setitem(with_ofa.__dict__, "metrics", pd.DataFrame(tops))
    found = _difference(with_ofa, "smallest")
    assert found.value.startswith("+1.25 [+1.1")
    assert found.value.endswith("] points")
    assert found.note.startswith("supported (6 seeds); ")


def test_one_seed_has_a_difference_without_an_interval_and_no_headline(with_ofa):
    value, note = values(replace(with_ofa, seeds=[0]))["DεpS − OFA, smallest"]
    assert (value, note.partition(";")[0]) == ("undecided", "+1.00 points, without an interval")


def test_one_method_is_compared_with_nothing(results):
    found = values(replace(results, methods=["rss"]))
    assert found["RSS, mean Pareto top-1"] == ("80.50 ± 0.71 %", "the only method here")
    assert found["predictor, τ"] == ("0.50", "MACs alone 0.25, test accuracy 0.75")


def test_taus_of_few_archs_are_left_out_and_named(results, monkeypatch):
    monkeypatch.setattr(quantities, "FEW_ARCHS", 2)
    for seed in (0, 1):
        path = Path(f"runs/quick/predict/deps-{seed}/predictions.csv")
        pd.read_csv(path).assign(arch=["a", "b"]).to_csv(path, index=False)
    path = Path("runs/quick/predict/rss-0/predictions.csv")
    pd.read_csv(path).assign(arch=["a", "b"]).to_csv(path, index=False)
    found = values(results)["predictor, τ"]
    assert found == ("0.50", "MACs alone 0.25, test accuracy 0.75; without RSS's of 1 arch")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the default itself is the best trial", ("study", "no better than the default")),
        (
            "the best trial is better than the default at 1.17 × its cost: +1 on 3 other seeds",
            ("study, best trial", "better than the default at 1.17 × its cost"),
        ),
        (
            "the best trial is better than the default: +1 on 3 other seeds",
            ("study, best trial", "better than the default"),
        ),
        ("undecided whether the best trial is better: +1 on 3 other seeds", ("study", "undecided")),
    ],
)
def test_a_studys_verdict_is_said_once(text, expected):
    found = _study(text)
    assert found[:2] == expected
    assert found.value not in found.note


def test_trials_that_diverged_are_named_where_the_default_is_best_too():
    found = _study("the default itself is the best trial; 3 drawn trials diverged, not counted")
    assert found.note == "no trial within the limit of cost surpasses it; 3 drawn trials diverged, not counted"


def test_the_papers_numbers_stand_beside_ours_on_its_data(with_ofa):
    with_ofa.params["dataset"]["name"], with_ofa.params["space"]["name"] = "imagenet1k", "mbv3_224"
    found = values(with_ofa)
    assert found["DεpS − OFA, smallest"][1].endswith("published +1.85")
    assert found["training cost, OFA ÷ DεpS"][1].endswith("published 1.79 × in GPU-hours")


def test_certainty_says_what_is_known_of_the_spread(results):
    assert "one standard error of a top-1 near 80 % is 0.89 points" in certainty(results)
    assert "± is the standard deviation (of a sample) over 2 seeds; differences are paired by seed" in certainty(
        results
    )
    assert certainty(results).endswith("Fewer than 6 seeds decide nothing.")
    assert "nothing is known about the spread" in certainty(replace(results, seeds=[0]))
