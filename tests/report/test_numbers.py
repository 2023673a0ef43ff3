import pandas as pd
import pytest

from dεps.core.files import read_json
from dεps.report.numbers import METRICS, OTHERS, numbers, of_methods, spreads, write_numbers


def test_each_number_of_the_table_is_a_row_a_seed(results):
    found = numbers(results)
    assert len(found) == 2 * 2 * 5 + 2 * 2 + 2 * 2 + 1  # methods, full model, smallest alone, logistic regression
    values = found.set_index(["of", "seed", "metric"]).value
    assert values["deps", 1, "pareto/mean_top1"] == 81.0
    assert values["full_model", 1, "pareto/largest_top1"] == 84.5
    assert values["full_model", 0, "cost/train_tmacs"] == pytest.approx(0.4)
    assert values["smallest_alone", 0, "pareto/smallest_top1"] == 78.0
    assert values["logistic_regression", -1, "pareto/largest_top1"] == 81.25


def test_spreads_that_are_alike_are_pooled_over_methods():
    """Of 1 and 3: 2; of 1, 2 and 6: 7; pooled (2 × 1 + 7 × 2) / 3 = 16 / 3. One seed adds nothing."""
    rows = [("a", 1.0), ("a", 3.0), ("b", 1.0), ("b", 2.0), ("b", 6.0), ("c", 100.0)]
    table = pd.DataFrame([("x", *row) for row in rows], columns=["metric", "of", "value"])
    more = pd.DataFrame([("y", "a", 1.0)], columns=["metric", "of", "value"])
    found = spreads(pd.concat([table, more]))
    assert set(found) == {("x", "a"), ("x", "b"), ("x", OTHERS)}
    assert list(found.values()) == [(pytest.approx((16 / 3) ** 0.5), 3)] * 3


def test_methods_alone_are_what_published_seeds_have_too(results):
    own = numbers(results)
    methods = of_methods(results)
    assert set(methods.of) == {"deps", "rss"}
    both = methods.merge(own, on=["of", "seed", "metric"])
    assert len(both) == len(methods) == 20
    assert (both.value_x == both.value_y).all()


def test_dvc_is_given_each_methods_means_over_seeds(results, tmp_path):
    write_numbers(results, tmp_path)
    means, table = read_json(tmp_path / METRICS), numbers(results)
    assert set(means) == {"deps", "rss"}
    assert all(set(own) == {"mean_top1", "smallest_top1", "train_tmacs"} for own in means.values())
    smallest = table[(table.of == "rss") & (table.metric == "pareto/smallest_top1")].value
    assert len(smallest) == 2
    assert means["rss"]["smallest_top1"] == pytest.approx(smallest.sum() / 2)
    assert means["deps"]["mean_top1"] == pytest.approx((80.0 + 81.0) / 2)
