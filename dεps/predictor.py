"""Accuracy of an arch from its encoding: OFA's predictor (arXiv 1908.09791, §3.2), and a linear one to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from dεps.errors import UserError, check_numbers
from dεps.optimizers import Adam
from dεps.randomness import derive
from dεps.search_space import SearchSpace
from dεps.stopwatch import computing
from dεps.tensors import read_tensors


@dataclass
class PredictConfig:
    """The `predict` section of an experiment."""

    hidden: int = 400
    layers: int = 3
    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    #: share of the measured archs that the predictor does not see, for its own test
    held_out: float = 0.25

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        check_numbers(self, where, hidden=(1, 10**4), layers=(1, 100), epochs=(1, 10**6), batch_size=(1, 10**9))
        if self.learning_rate <= 0:
            raise UserError(f"{where}.learning_rate is {self.learning_rate}; expected a positive number")
        check_numbers(self, where, learning_rate=(0, 10**3), weight_decay=(0, 10**3))
        if not 0.0 < self.held_out < 1.0:
            raise UserError(f"{where}.held_out is {self.held_out}; expected above 0 and below 1")


class AccuracyPredictor(nn.Module):
    """MLP from an encoding (batch, features) to accuracy in [0, 1] (batch,)."""

    def __init__(self, features: int, hidden: int, layers: int, seed: int) -> None:
        super().__init__()
        sizes = [features] + [hidden] * layers
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.out = nn.Linear(hidden, 1)
        generator = Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in self.hidden:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)
            # The untrained predictor says the mean: with few measured archs, noise at the start would remain.
            nn.init.zeros_(self.out.weight)

    def forward(self, codes: Tensor) -> Tensor:
        for layer in self.hidden:
            codes = layer(codes).relu()
        return self.out(codes).squeeze(1)


@computing()
def fit(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> AccuracyPredictor:
    """Fit to encodings (n, features) and accuracies in [0, 1] (n,); the output bias starts at their mean."""
    model = AccuracyPredictor(codes.shape[1], config.hidden, config.layers, derive(seed, "predictor"))
    x, y = torch.from_numpy(codes), torch.from_numpy(accuracy.astype(np.float32))
    nn.init.constant_(model.out.bias, float(y.mean()))
    optimizer = Adam(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        order = torch.randperm(len(x), generator=Generator().manual_seed(derive(seed, "predictor/order", epoch)))
        for chunk in order.split(config.batch_size):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[chunk]), y[chunk]).backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def predict(model: AccuracyPredictor, codes: np.ndarray) -> np.ndarray:
    """Predicted accuracy in [0, 1], (n,)."""
    return model(torch.from_numpy(codes)).numpy().astype(np.float64)


def predict_linear(train_codes: np.ndarray, accuracy: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Ridge regression on the same encoding: the baseline that the MLP has to beat."""
    from sklearn.linear_model import Ridge  # takes longer to import than to run

    return Ridge(alpha=1.0).fit(train_codes, accuracy).predict(codes)


def agreement(predicted: Sequence[float], measured: Sequence[float]) -> dict[str, float]:
    """Kendall's τ, Spearman's ρ and RMSE (percentage points) of accuracies in [0, 1]; τ = ρ = 0 without spread."""
    predicted, measured = np.asarray(predicted), np.asarray(measured)
    from scipy.stats import kendalltau, spearmanr  # takes longer to import than to run

    varied = len(measured) > 1 and np.ptp(predicted) > 0 and np.ptp(measured) > 0
    return {
        "kendall_tau": round(float(kendalltau(predicted, measured).statistic), 4) if varied else 0.0,
        "spearman": round(float(spearmanr(predicted, measured).statistic), 4) if varied else 0.0,
        "rmse_points": round(float(np.sqrt(np.mean((predicted - measured) ** 2))) * 100, 4),
    }


def load_predictor(path: Path, space: SearchSpace, config: PredictConfig) -> AccuracyPredictor:
    """A fitted predictor. Raises `UserError` where the file is missing, damaged, or of another space or size."""
    model = AccuracyPredictor(len(space.encode(space.largest())), config.hidden, config.layers, 0)
    tensors = read_tensors(path, "predictor", "run the stage 'predict' again")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be used ({reason}); run the stage 'predict' again") from None
    return model.eval()
