"""Predicts the accuracy of an arch from its encoding: OFA's MLP (arXiv 1908.09791, §3.2), regressors of scikit-learn.

A fitted predictor is a few arrays, in one of four forms, so its file is safetensors: nothing is pickled, and reading it
needs no scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from dεps.core.errors import UserError
from dεps.core.files import replace_atomic
from dεps.core.hashing import digest
from dεps.core.optimizer import Adam
from dεps.core.randomness import derive
from dεps.core.schema import DISTINCT, checked
from dεps.core.stopwatch import computing
from dεps.core.tensors import read_description, read_tensors, save_tensors
from dεps.spaces.encoding import encode_genomes
from dεps.spaces.space import SearchSpace

State = dict[str, np.ndarray]
Regressor = Literal["ridge", "gaussian_process", "boosting", "mlp"]
#: number of archs that the Gaussian process fits its kernel to; the time grows with its cube
KERNEL_ARCHS = 500


@checked
class PredictConfig:
    """The `predict` section of an experiment."""

    #: regressors to choose from by cross-validation
    candidates: Annotated[list[Regressor], Field(min_length=1), DISTINCT] = field(
        default_factory=lambda: [*get_args(Regressor)]
    )
    #: parts of the measured archs; each is predicted once by a regressor that was fitted to the others
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    #: width of the MLP's hidden layers
    hidden: Annotated[int, Field(ge=1, le=10_000)] = 400
    #: number of them
    layers: Annotated[int, Field(ge=1, le=100)] = 3
    #: of the MLP's training by Adam, as are the keys below
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    #: archs of a step
    batch_size: Annotated[int, Field(ge=1, le=10**9)] = 256
    learning_rate: Annotated[float, Field(gt=0, le=1000)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = 1e-4


@dataclass(frozen=True)
class Predictor:
    """A fitted regressor: its name in `FITTERS`, and its arrays by name."""

    kind: str
    state: State


@computing()
def fit(kind: str, codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> Predictor:
    """Fit the regressor `kind` to encodings (n, features) and accuracies in [0, 1] (n,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a kernel's parameter at its limit
        return Predictor(kind, FITTERS[kind][0](codes, accuracy, config, derive(seed, "predictor")))


def predict(model: Predictor, codes: np.ndarray) -> np.ndarray:
    """Predicted accuracies in [0, 1] (n,) for encodings (n, features)."""
    return FITTERS[model.kind][1](model.state, codes)


# --- linear: one weight per feature ----------------------------------------------------------------------------------


def _fit_ridge(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> State:
    """Ridge regression, its penalty chosen by leave-one-out."""
    from sklearn.linear_model import RidgeCV  # scikit-learn takes longer to import than to run

    model: Any = RidgeCV(np.logspace(-2, 3, 11)).fit(codes.astype(np.float64), accuracy)
    return {"weights": model.coef_, "mean": np.array(model.intercept_, np.float64)}


def _linear(state: State, codes: np.ndarray) -> np.ndarray:
    return codes.astype(np.float64) @ state["weights"] + state["mean"]


# --- kernel: one weight per arch that was fitted to ------------------------------------------------------------------


def _fit_gaussian_process(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> State:
    """Mean of a Gaussian process with an RBF kernel and noise, both fitted by marginal likelihood."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    codes, mean, scale = codes.astype(np.float64), accuracy.mean(), accuracy.std() or 1.0
    target = (accuracy - mean) / scale
    start = ConstantKernel() * RBF(np.sqrt(codes.shape[1]), (0.1, 1e3)) + WhiteKernel(0.5, (1e-4, 1e2))
    some = slice(None, None, -(-len(codes) // KERNEL_ARCHS))
    kernel: Any = GaussianProcessRegressor(start).fit(codes[some], target[some]).kernel_
    # The kernel is fitted already; None, which stubs do not know, says so.
    fixed = GaussianProcessRegressor(kernel, optimizer=None)  # pyright: ignore[reportArgumentType]
    model: Any = fixed.fit(codes, target)
    weights = model.alpha_ * scale * kernel.k1.k1.constant_value
    return {"points": codes, "weights": weights, "length": np.array(kernel.k1.k2.length_scale), "mean": np.array(mean)}


def _kernel(state: State, codes: np.ndarray) -> np.ndarray:
    points, codes = state["points"], codes.astype(np.float64)
    distances = (codes**2).sum(1)[:, None] + (points**2).sum(1) - 2 * codes @ points.T
    return np.exp(-distances / (2 * state["length"] ** 2)) @ state["weights"] + state["mean"]


# --- trees: the nodes of all trees in one row; a leaf is its own child -----------------------------------------------


def _fit_boosting(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> State:
    """Gradient boosting of shallow trees."""
    from sklearn.ensemble import GradientBoostingRegressor

    options: dict[str, Any] = {"max_depth": 2, "learning_rate": 0.1, "subsample": 0.5, "random_state": seed % 2**32}
    model: Any = GradientBoostingRegressor(n_estimators=100, **options).fit(codes, accuracy)
    trees = [each.tree_ for each in model.estimators_[:, 0]]
    return _nodes(trees, model.learning_rate, float(model.init_.constant_.item()))


def _nodes(trees: Sequence[Any], weight: float, mean: float) -> State:
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    left, right, feature = [], [], []
    for root, tree in zip(roots, trees, strict=True):
        leaf, own = tree.children_left < 0, root + np.arange(tree.node_count)
        left.append(np.where(leaf, own, root + tree.children_left))
        right.append(np.where(leaf, own, root + tree.children_right))
        feature.append(np.where(leaf, 0, tree.feature))
    return {
        **{name: np.concatenate(parts) for name, parts in (("left", left), ("right", right), ("feature", feature))},
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "value": np.concatenate([tree.value[:, 0, 0] for tree in trees]) * weight,
        "roots": roots,
        "mean": np.array(mean),
    }


def _trees(state: State, codes: np.ndarray) -> np.ndarray:
    at, rows = np.repeat(state["roots"][:, None], len(codes), axis=1), np.arange(len(codes))
    while True:
        goes_left = codes[rows, state["feature"][at]] <= state["threshold"][at]
        to = np.where(goes_left, state["left"][at], state["right"][at])
        if np.array_equal(to, at):
            return state["value"][at].sum(0) + state["mean"]
        at = to


# --- MLP -------------------------------------------------------------------------------------------------------------


class _Mlp(nn.Module):
    """Accuracies in [0, 1] (batch,) from encodings (batch, features)."""

    def __init__(self, features: int, hidden: int, layers: int, seed: int) -> None:
        super().__init__()
        linears = [nn.Linear(hidden if number else features, hidden) for number in range(layers)]
        self.hidden = nn.ModuleList(linears)
        self.out = nn.Linear(hidden, 1)
        generator = Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in linears:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)
            # So that it starts from the mean: with few measured archs, initial noise would never be trained away.
            nn.init.zeros_(self.out.weight)

    def forward(self, codes: Tensor) -> Tensor:
        for layer in self.hidden:
            codes = layer(codes).relu()
        return self.out(codes).squeeze(1)


def _fit_mlp(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> State:
    """OFA's MLP, trained by Adam; its output starts at the mean accuracy."""
    model = _Mlp(codes.shape[1], config.hidden, config.layers, seed)
    x, y = torch.from_numpy(codes), torch.from_numpy(accuracy.astype(np.float32))
    nn.init.constant_(model.out.bias, float(y.mean()))
    optimizer = Adam(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        order = torch.randperm(len(x), generator=Generator().manual_seed(derive(seed, "order", epoch)))
        for chunk in order.split(config.batch_size):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[chunk]), y[chunk]).backward()
            optimizer.step()
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def _mlp(state: State, codes: np.ndarray) -> np.ndarray:
    for number in range(sum(name.endswith(".weight") for name in state) - 1):
        codes = codes @ state[f"hidden.{number}.weight"].T
        codes += state[f"hidden.{number}.bias"]
        np.maximum(codes, 0, out=codes)
    return (codes @ state["out.weight"].T + state["out.bias"])[:, 0].astype(np.float64)


#: by name of a candidate: the function that fits it, and the one that predicts from its arrays
FITTERS: dict[str, tuple[Callable[..., State], Callable[[State, np.ndarray], np.ndarray]]] = {
    "ridge": (_fit_ridge, _linear),
    "gaussian_process": (_fit_gaussian_process, _kernel),
    "boosting": (_fit_boosting, _trees),
    "mlp": (_fit_mlp, _mlp),
}


# --- files -----------------------------------------------------------------------------------------------------------


def save_predictor(model: Predictor, path: Path, space: SearchSpace, config: PredictConfig, weights: str = "") -> None:
    """Write a predictor, with digests of the space and the config, and a stamp of the weights it learnt from."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in model.state.items()}
    description = {"kind": model.kind, "of": _of(space, config), "weights": weights}
    replace_atomic(path, lambda temporary: save_tensors(tensors, temporary, ("predictor", description)))


def load_predictor(path: Path, space: SearchSpace, config: PredictConfig, weights: str = "") -> Predictor:
    """Read a predictor.

    Raises `UserError` where the file is missing, damaged, not finite, of another space or config, or learnt from other
    weights than those with the stamp `weights`, where that is given.
    """
    what, cure = "predictor", "run the stage 'predict' again"
    tensors, described = read_tensors(path, what, cure), read_description(path, what, what, cure)
    if described.get("of") != _of(space, config):
        raise UserError(f"{path} is of another space or 'predict' section than params.yaml has; {cure}")
    if weights and described.get("weights") not in ("", weights):
        raise UserError(f"{path} has learnt from other weights than are there; {cure}")
    model = Predictor(str(described.get("kind")), {name: tensor.numpy() for name, tensor in tensors.items()})
    if not all(np.isfinite(array).all() for array in model.state.values()):
        raise UserError(f"{path} holds numbers that are not finite; {cure}")
    try:
        features = encode_genomes(space, np.zeros((1, len(space.genes)), int)).shape[1]
        if "roots" in model.state:
            _check_nodes(model.state, features)
        usable = np.isfinite(predict(model, np.zeros((1, features), np.float32))).all()
    except (KeyError, ValueError, IndexError, TypeError):
        usable = False
    if not usable:
        raise UserError(f"{path} is no readable {what} (its arrays do not fit each other, or the space); {cure}")
    return model


def _check_nodes(state: State, features: int) -> None:
    """Raise `ValueError` where a walk through the trees could leave the arrays, or never end."""
    own = np.arange(len(state["value"]))
    limits = {"left": (own, own[-1]), "right": (own, own[-1]), "feature": (0, features - 1), "roots": (0, own[-1])}
    for name, (low, high) in limits.items():
        if not ((state[name] >= low) & (state[name] <= high)).all():
            raise ValueError(name)


def _of(space: SearchSpace, config: PredictConfig) -> str:
    return digest([asdict(space), asdict(config)])
