import json
from pathlib import Path

import pytest

from dεps.report.figures.tuning_front import draw
from tests.report.figures.legends import texts


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "best.yaml, up to the star's cost"),
        ({"objectives": ["accuracy"]}, "best.yaml, at any cost"),
        ({"cost_limit": 1.5}, "best.yaml, up to 1.5 × the full model's cost"),
        ({"cost_limit": 0.25, "cost_unit": "tmacs", "objectives": ["accuracy"]}, "best.yaml, up to 0.25 TMACs"),
    ],
)
def test_the_ring_says_up_to_which_cost_it_is_the_best(study, changes, label):
    study.params["tuning"] |= changes
    assert label in texts(draw(study).legends[0])


@pytest.mark.parametrize(("diverged", "end"), [(None, "MACs)"), (0, "MACs)"), (3, "; without 3 trials that diverged")])
def test_trials_that_diverged_are_named(study, diverged, end):
    path = Path("runs/quick/tune/summary.json")
    summary = json.loads(path.read_text())
    assert summary.pop("tune/diverged") == 0
    path.write_text(json.dumps(summary | ({} if diverged is None else {"tune/diverged": diverged})))
    assert draw(study).axes[0].get_xlabel().endswith(end)
