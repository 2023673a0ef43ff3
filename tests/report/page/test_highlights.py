from dataclasses import replace
from pathlib import Path

import pytest

from dεps.core.files import read_json, write_json
from dεps.report.page.highlights import certainty, highlights


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
    assert list(values(results)) == ["highest mean Pareto top-1", "predictor, median τ", "archs measured"]
    assert values(results)["highest mean Pareto top-1"] == ("80.50 ± 0.71 %", "DεpS")
    assert values(results)["archs measured"][0] == f"{6 * 4 + 4 * 4 + 4 * 2}"


def test_differences_are_taken_seed_by_seed(with_ofa):
    found = values(with_ofa)
    value, note = found["DεpS − OFA, smallest"]
    assert value == "+1.50 [−4.85, +7.85] points"  # 1 and 2: 1.5 ± 12.706 × 0.5
    assert note.startswith("75.00 against 73.50 ± 0.71 %; undecided (2 seeds; about 6 would decide)")
    assert note.endswith("; up to ± 1.38 for the choice of test images")  # sqrt(75 × 25 / 2000 + 73.5 × 26.5 / 2000)
    assert found["DεpS − OFA, largest"][0] == "+0.00 [+0.00, +0.00] points"
    assert found["training cost, OFA ÷ DεpS"] == ("2.50 ×", "1 against 0.4 TMACs")


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
