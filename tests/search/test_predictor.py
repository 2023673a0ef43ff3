from random import Random
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.search.crossvalidation import tau
from dεps.search.predictor import FITTERS, PredictConfig, Regressor, fit, load_predictor, predict, save_predictor
from dεps.spaces.encoding import encode_genomes


@pytest.fixture(scope="module")
def measured(micro):
    """300 archs whose accuracy grows with depth, expand and kernel."""
    archs = [micro.sample(Random(seed)) for seed in range(300)]
    codes = encode_genomes(micro, np.array([micro.to_genome(arch) for arch in archs]))
    blocks = [[block for stage in arch.stages for block in stage] for arch in archs]
    accuracy = np.array([0.6 + 0.01 * len(b) + 0.002 * sum(x.expand + x.kernel for x in b) for b in blocks])
    return archs, codes, accuracy


@pytest.mark.parametrize("kind", FITTERS)
def test_each_candidate_ranks_unseen_archs(measured, kind):
    _, codes, accuracy = measured
    model = fit(kind, codes[:200], accuracy[:200], PredictConfig(batch_size=64), seed=0)
    predicted = predict(model, codes[200:])
    assert tau(predicted, accuracy[200:]) > 0.8
    assert np.sqrt(np.mean((predicted - accuracy[200:]) ** 2)) < 0.015


@pytest.mark.parametrize("kind", FITTERS)
def test_fitting_depends_on_the_seed_only(measured, kind):
    _, codes, accuracy = measured
    config = PredictConfig(epochs=3)
    a, b, c = (predict(fit(kind, codes[:50], accuracy[:50], config, seed), codes) for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert np.array_equal(a, c) == (kind in ("ridge", "gaussian_process"))  # they draw nothing


def test_arrays_predict_what_scikit_learn_does(measured):
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.linear_model import RidgeCV

    from dεps.core.randomness import derive

    _, codes, accuracy = measured
    x, y, new = codes[:100], accuracy[:100] + 0.01 * np.sin(np.arange(100)), codes[100:]
    kernel = ConstantKernel() * RBF(np.sqrt(x.shape[1]), (0.1, 1e3)) + WhiteKernel(0.5, (1e-4, 1e2))
    options = {"max_depth": 2, "learning_rate": 0.1, "subsample": 0.5, "random_state": derive(3, "predictor") % 2**32}
    theirs = {
        "ridge": RidgeCV(np.logspace(-2, 3, 11)),
        "gaussian_process": GaussianProcessRegressor(kernel, normalize_y=True),
        "boosting": GradientBoostingRegressor(**options),
    }
    for kind, model in theirs.items():
        own = predict(fit(kind, x, y, PredictConfig(), 3), new)
        assert own == pytest.approx(model.fit(x.astype(np.float64), y).predict(new.astype(np.float64)), abs=1e-6)


@pytest.mark.parametrize("kind", FITTERS)
def test_a_file_gives_the_same_predictions_and_bytes(micro, measured, tmp_path, kind):
    _, codes, accuracy = measured
    config, path = PredictConfig(epochs=2, hidden=8), tmp_path / "predictor.safetensors"
    model = fit(kind, codes[:30], accuracy[:30], config, 0)
    save_predictor(model, path, micro, config)
    whole = path.read_bytes()
    loaded = load_predictor(path, micro, config)
    assert loaded.kind == kind
    assert np.array_equal(predict(loaded, codes), predict(model, codes))
    save_predictor(fit(kind, codes[:30], accuracy[:30], config, 0), path, micro, config)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", FITTERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_predictor_that_is_not_finite_is_refused(micro, measured, tmp_path, kind, value):
    _, codes, accuracy = measured
    config, path = PredictConfig(epochs=2, hidden=8), tmp_path / "predictor.safetensors"
    save_predictor(fit(kind, codes[:30], accuracy[:30], config, 0), path, micro, config)
    whole = load_arrays(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    for name, array in whole.items():
        if array.dtype.kind == "f":
            damaged = array.copy()
            damaged.flat[-1] = value
            save_arrays(whole | {name: damaged}, path, metadata)
            with pytest.raises(
                UserError, match=rf"predictor\.safetensors cannot be used: '{name}' has numbers that are"
            ):
                load_predictor(path, micro, config)


def test_a_predictor_of_other_params_is_refused(micro, measured, tmp_path):
    _, codes, accuracy = measured
    config, path = PredictConfig(), tmp_path / "predictor.safetensors"
    save_predictor(fit("ridge", codes[:9], accuracy[:9], config, 0), path, micro, config)
    for space, own in ((micro, PredictConfig(folds=4)), (micro.restrict(depth=[1, 2]), config)):
        with pytest.raises(UserError, match=r"is of another space or 'predict' section than params\.yaml has"):
            load_predictor(path, space, own)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [("left", 0, 10**6), ("left", 5, 0), ("right", 0, -1), ("feature", 0, 10**4), ("roots", 1, 10**6)],
)
def test_trees_that_lead_nowhere_are_refused(micro, measured, tmp_path, name, place, value):
    """They would end in a traceback, or never."""
    _, codes, accuracy = measured
    config, path = PredictConfig(), tmp_path / "predictor.safetensors"
    model = fit("boosting", codes[:30], accuracy[:30], config, 0)
    model.state[name][place] = value
    save_predictor(model, path, micro, config)
    with pytest.raises(UserError, match=r"no readable predictor \(its arrays do not fit each other, or the space\)"):
        load_predictor(path, micro, config)


def test_arrays_of_another_size_or_name_are_refused(micro, measured, tmp_path):
    _, codes, accuracy = measured
    config, path = PredictConfig(epochs=2, hidden=8), tmp_path / "predictor.safetensors"
    for kind, drop in (("mlp", "out.bias"), ("ridge", "mean"), ("gaussian_process", "length")):
        save_predictor(fit(kind, codes[:9], accuracy[:9], config, 0), path, micro, config)
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            header = file.metadata()
        tensors = load_file(path)
        for changed in ({k: v for k, v in tensors.items() if k != drop}, {"weights": torch.zeros(3)}):
            save_file(changed, path, header)
            with pytest.raises(UserError, match=r"predictor\.safetensors is no readable predictor"):
                load_predictor(path, micro, config)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"candidates is \[\]; expected a non-empty list of some of: ridge, gaussian_process, boosting, mlp$"),
        (["ridge", "ridge"], r"candidates is \['ridge', 'ridge'\]; expected different values$"),
        (["oracle"], r"candidates\[0\] is 'oracle'; allowed: ridge, gaussian_process, boosting, mlp$"),
    ],
)
def test_candidates_are_checked(value, message):
    with pytest.raises(UserError, match=rf"^PredictConfig\.{message}"):
        PredictConfig(candidates=value)
    with pytest.raises(UserError, match=rf"^p\.{message}"):
        structured(PredictConfig, {"candidates": value}, "p")


def test_candidates_are_the_regressors_that_there_are():
    assert PredictConfig().candidates == list(get_args(Regressor)) == list(FITTERS)
