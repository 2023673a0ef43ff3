from pathlib import Path

import pandas as pd
import pytest
import yaml

from dεps.core.tables import matching
from dεps.report.claims import ALONE, MEDIANS, Claim
from dεps.report.figures import differences
from dεps.report.marks import table
from dεps.report.page.highlights import highlights
from dεps.report.quantities import against_alone, comparable, shared_archs
from dεps.report.results import all_results
from dεps.report.statistics import paired

MEAN = "pareto/mean_top1"


def again():
    return all_results(yaml.safe_load(Path("params.yaml").read_text()))[0]


def set_points(method: str, top1s: dict[float, float], kept: tuple[int, ...]) -> None:
    """Give a method's Pareto points, of both seeds, MACs in millions and top-1; of the six archs those at `kept`."""
    for seed in (0, 1):
        path = Path(f"runs/quick/evaluate/{method}-{seed}/pareto.csv")
        frame = pd.read_csv(path).iloc[list(kept)].reset_index(drop=True)
        frame["macs"] = [macs * 1e6 for macs in top1s]
        frame["test_top1"] = [top1 + seed for top1 in top1s.values()]
        frame.to_csv(path, index=False)


@pytest.fixture
def fewer(results):
    """Both methods are as good; the front of one is concave, and the other has its two ends alone."""
    set_points("deps", {1: 70.0, 2: 80.0, 3: 82.0}, (0, 2, 5))
    set_points("rss", {1: 70.0, 3: 82.0}, (0, 5))
    return again()


def test_means_over_the_front_are_compared_at_the_archs_that_both_have(fewer):
    assert len(shared_archs(fewer, "deps", "rss")) == 2
    assert shared_archs(fewer, "deps", "deps") is None
    metrics = comparable(fewer, "deps", "rss")
    assert metrics.set_index(["method", "seed"])[MEAN].to_dict() == {
        ("deps", 0): 76.0,
        ("deps", 1): 77.0,
        ("rss", 0): 76.0,
        ("rss", 1): 77.0,
    }
    assert paired(metrics, MEAN, "rss", "deps").values == (0.0, 0.0)
    # what the methods' own metrics say remains
    assert matching(fewer.metrics, method="deps")[MEAN].tolist() == [80.0, 81.0]


def test_two_that_share_fewer_than_two_archs_are_not_compared_by_points(results):
    set_points("deps", {1: 70.0, 2: 80.0}, (0, 2))
    set_points("rss", {2: 80.0, 3: 82.0}, (2, 5))
    assert paired(comparable(again(), "deps", "rss"), MEAN, "deps", "rss") is None


def test_claims_figure_and_headline_compare_at_the_archs_that_both_have(fewer):
    facts = {"order": 1, "sentence": "s", "paper": "p", "place": "q", "experiments": ["quick"], "above": 0.0}
    own = Claim(**facts, metric=MEAN, method="rss", against="deps")
    assert own.measured(fewer).values == (0.0, 0.0)
    assert own.detail(fewer) == "over the 2 archs that both have"
    drawn = table(differences.draw(fewer))
    assert set(drawn[drawn.metric == "mean Pareto"].difference) == {0.0}
    note = highlights(fewer)[0].note
    assert "difference +0.00 [+0.00, +0.00]" in note
    assert note.endswith("; over the 2 archs that both have")
    same = again()
    assert Claim(**facts, metric="pareto/smallest_top1", method="rss", against="rss").detail(same) == ""


def test_what_a_mean_of_medians_hides_is_said(results):
    for method, top1s in (("deps", (60.0, 70.0)), ("rss", (62.0, 69.5))):
        for seed in (0, 1):
            frame = pd.DataFrame({"bucket": [0, 1], "arch": "a", "macs": [1e6, 2e6], "params": 9, "val_top1": 70.0})
            frame.assign(test_top1=top1s).to_csv(f"runs/quick/evaluate/{method}-{seed}/population.csv", index=False)
    facts = {"order": 1, "sentence": "s", "paper": "p", "place": "q", "experiments": ["quick"], "above": 0.0}
    own = Claim(**facts, metric=MEDIANS, method="rss", against="deps")
    assert own.measured(again()).values == (0.75, 0.75)
    assert own.detail(again()) == "from few MACs to many +2.00, −0.50"


def test_the_full_model_is_an_arch_trained_alone(results):
    """Made up: 83.5 and 84.5 of the full model; DεpS's largest has 77 and 78."""
    found = against_alone(results, "deps")
    assert found.arch.unique().tolist() == [results.space_points.arch.iloc[-1]]
    assert found.difference.tolist() == [-7.5 + 1.0, -7.5 + 1.0]
    facts = {"order": 1, "sentence": "s", "paper": "p", "place": "q", "experiments": ["quick"], "above": 0.0}
    assert Claim(**facts, metric=ALONE, method="deps").detail(results) == "of 1 arch"
