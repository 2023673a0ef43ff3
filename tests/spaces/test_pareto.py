import pytest

from dεps.spaces.pareto import front, hypervolume, mean_pareto_accuracy


def test_mean_is_the_area_over_the_range():
    assert mean_pareto_accuracy([1, 2, 4], [50, 60, 70]) == pytest.approx((55 + 2 * 65) / 3)


def test_order_does_not_matter_and_a_constant_is_its_own_mean():
    assert mean_pareto_accuracy([4, 1, 2], [70, 50, 60]) == pytest.approx(mean_pareto_accuracy([1, 2, 4], [50, 60, 70]))
    assert mean_pareto_accuracy([1, 7], [42, 42]) == pytest.approx(42)


@pytest.mark.parametrize("macs", [[], [1], [2, 2]])
def test_a_front_without_a_range_has_no_mean(macs):
    with pytest.raises(ValueError, match="two different MACs"):
        mean_pareto_accuracy(macs, [50.0] * len(macs))


def test_hypervolume_is_the_dominated_area():
    # up to 2: nothing, then 60 up to 4, then 80 up to 10; (5, 70) and what lies beyond 10 add nothing
    assert hypervolume([4, 2, 5, 12], [80, 60, 70, 90], most=10) == pytest.approx((2 * 60 + 6 * 80) / 10)
    assert hypervolume([12], [90], most=10) == 0


def test_front_keeps_what_no_other_point_beats():
    cost, accuracy = [3, 1, 2, 2, 5], [70, 60, 65, 66, 69]
    assert front(cost, accuracy) == [1, 3, 0]
