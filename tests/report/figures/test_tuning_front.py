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
