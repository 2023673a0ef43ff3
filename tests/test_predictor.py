from random import Random

import numpy as np
import pytest
from safetensors.torch import save_file

from dεps.errors import UserError
from dεps.genomes import encode_genomes
from dεps.predictor import PredictConfig, agreement, fit, load_predictor, predict, predict_linear


@pytest.fixture(scope="module")
def measured(micro):
    """300 archs whose accuracy grows with depth, expand and kernel."""
    archs = [micro.sample(Random(seed)) for seed in range(300)]
    codes = encode_genomes(micro, np.array([micro.to_genome(arch) for arch in archs]))
    blocks = [[block for stage in arch.stages for block in stage] for arch in archs]
    accuracy = np.array([0.6 + 0.01 * len(b) + 0.002 * sum(x.expand + x.kernel for x in b) for b in blocks])
    return archs, codes, accuracy


def test_the_predictor_ranks_unseen_archs(measured):
    _, codes, accuracy = measured
    model = fit(codes[:200], accuracy[:200], PredictConfig(epochs=60), seed=0)
    result = agreement(predict(model, codes[200:]), accuracy[200:])
    assert result["kendall_tau"] > 0.8
    assert result["rmse_points"] < 1.5
    assert agreement(predict_linear(codes[:200], accuracy[:200], codes[200:]), accuracy[200:])["kendall_tau"] > 0.8


def test_fitting_depends_on_the_seed_only(measured):
    _, codes, accuracy = measured
    a, b, c = (predict(fit(codes[:50], accuracy[:50], PredictConfig(epochs=3), seed), codes) for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_agreement_by_hand():
    result = agreement([0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4])
    assert result["kendall_tau"] == pytest.approx(4 / 6, abs=1e-4)
    assert result["spearman"] == pytest.approx(0.8)
    assert result["rmse_points"] == pytest.approx(100 * np.sqrt(0.02 / 4), abs=1e-4)
    assert agreement([0.5, 0.5], [0.1, 0.2])["kendall_tau"] == 0.0


def test_a_predictor_of_another_size_is_refused(micro, measured, tmp_path):
    _, codes, accuracy = measured
    path = tmp_path / "predictor.safetensors"
    save_file(fit(codes[:9], accuracy[:9], PredictConfig(hidden=8, epochs=1), 0).state_dict(), path)
    assert load_predictor(path, micro, PredictConfig(hidden=8)).out.weight.shape == (1, 8)
    with pytest.raises(UserError, match=r"predictor\.safetensors cannot be used"):
        load_predictor(path, micro, PredictConfig(hidden=9))
