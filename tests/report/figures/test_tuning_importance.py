from pathlib import Path

import pandas as pd
import pytest

from dεps.report.figures.tuning_importance import draw


@pytest.mark.parametrize("of_before", [False, True])
def test_the_number_of_trials_is_of_those_that_differ_in_what_is_searched(study, of_before):
    """Of ten complete trials one, a given point, learns from labels."""
    path = Path("runs/quick/tune/importance.csv")
    if of_before:
        pd.read_csv(path).drop(columns="trials").to_csv(path, index=False)
    assert (study.trials.state == "complete").sum() == 10
    assert draw(study).axes[0].get_xlabel() == "share of variance (9 trials)"
