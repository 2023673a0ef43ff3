import numpy as np
import pytest

from dεps.evaluation.noise import difference, standard_error


def test_the_standard_error_of_a_top1():
    assert standard_error(80.0, 2000) == 0.8944  # sqrt(0.8 × 0.2 / 2000)
    assert standard_error(50.0, 100) == 5.0
    assert (
        standard_error(100.0, 50) == standard_error(0.0, 50) == pytest.approx(100 * (0.01 * 0.99 / 50) ** 0.5, abs=1e-4)
    )


def test_a_difference_counts_the_images_on_which_two_models_differ():
    first, second = np.zeros(100, bool), np.zeros(100, bool)
    first[:60] = second[6:58] = True
    second[60:62] = True
    found = difference(first, second)  # 8 gained, 2 lost: sqrt(10 - 36 / 100) = 3.1048
    assert found == (6.0, 3.1048)
    assert found.is_noise
    assert str(found) == "+6.00 ± 3.10 points"
    assert difference(second, first) == (-6.0, 3.1048)
    second[60:62] = False  # 8 gained, none lost: sqrt(8 - 64 / 100) = 2.7129
    assert difference(first, second) == (8.0, 2.7129)
    assert not difference(first, second).is_noise
    assert difference(first, first) == (0.0, 1.0)
