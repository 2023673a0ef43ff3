from dataclasses import replace

import pytest

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.training.config import FullModelConfig, TrainConfig


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("dropout", 1.0),
        ("device", "tpu"),
        ("warmup_epochs", 9),
    ],
)
def test_impossible_values_are_refused(key, value):
    with pytest.raises(UserError, match=rf"train\.{key} is"):
        structured(TrainConfig, {"epochs": 4, key: value}, "train")


def test_a_batch_larger_than_the_data_is_refused(micro, data):
    with pytest.raises(UserError, match=r"train\.batch_size is 500; expected at most the 192"):
        TrainConfig(batch_size=500).setup(micro, data)


def test_compiling_needs_one_resolution(micro, data):
    with pytest.raises(UserError, match=r"train\.compile is true"):
        TrainConfig(compile=True).setup(replace(micro, resolution=[24, 28]), data)


def test_kept_epochs_are_shares_of_all_and_the_end():
    assert FullModelConfig().epochs(8) == [2, 4, 6, 8]
    assert FullModelConfig(keep=[0.01, 0.5, 0.52]).epochs(4) == [1, 2, 4]


def test_a_setup_has_the_training_sections_numbers(micro, data):
    setup = TrainConfig(epochs=6, batch_size=50, warmup_epochs=0.5).setup(micro, data)
    assert (setup.steps_per_epoch, setup.steps(6), setup.batch_size) == (len(data.train) // 50, 6 * 3, 50)
    schedule = setup.schedule()
    # Two steps of warm-up, then a quarter of the cosine's way down: half of (1 + cos(π / 4)).
    assert [schedule(step) for step in (0, 1, 6)] == pytest.approx([0.05, 0.1, 0.1 * (1 + 2**-0.5) / 2])
