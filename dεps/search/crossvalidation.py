"""Cross-validates the accuracy predictors: how well each orders archs that it has not seen, and which is best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dεps.core.randomness import python_rng
from dεps.search.predictor import PredictConfig, fit, predict


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of n archs in k folds, each fold by candidates fitted to the other folds; accuracies in [0, 1]."""

    #: number of each arch's fold, int (n,)
    fold: np.ndarray
    #: measured accuracy (n,)
    measured: np.ndarray
    #: predicted accuracy (n,), by candidate
    predicted: dict[str, np.ndarray]
    #: Kendall's τ within each fold (k,), by candidate
    taus: dict[str, np.ndarray]

    def best(self, folds: Iterable[int]) -> str:
        """The candidate with the highest mean τ over the given folds; of equals the one with the smaller error."""
        folds = list(folds)
        seen = np.isin(self.fold, folds)

        def merit(name: str) -> tuple[float, float]:
            error = self.predicted[name][seen] - self.measured[seen]
            return float(self.taus[name][folds].mean()), -float((error**2).mean())

        return max(self.predicted, key=merit)

    @property
    def chosen(self) -> str:
        """The best candidate over all folds."""
        return self.best(range(self.fold.max() + 1))

    def of_the_choice(self) -> tuple[np.ndarray, np.ndarray]:
        """Predictions (n,) and τ by fold (k,) of the choosing itself: each fold by the candidate best on the others.

        This is an honest estimate. The chosen candidate's own τ is the highest of several, which is partly luck.
        """
        folds = range(self.fold.max() + 1)
        names = [self.best(other for other in folds if other != fold) for fold in folds]
        taus = np.array([self.taus[name][fold] for fold, name in enumerate(names)])
        return np.array([self.predicted[names[fold]][n] for n, fold in enumerate(self.fold)]), taus


def cross_validate(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> CrossValidation:
    """Fit every candidate once per fold, to encodings (n, features) and accuracies in [0, 1] (n,)."""
    fold = folds(len(codes), config.folds, seed)
    predicted = {name: np.empty(len(codes)) for name in config.candidates}
    for number in range(config.folds):
        held = fold == number
        for name, values in predicted.items():
            values[held] = predict(fit(name, codes[~held], accuracy[~held], config, seed), codes[held])
    taus = {name: taus_by_fold(values, accuracy, fold) for name, values in predicted.items()}
    return CrossValidation(fold, accuracy, predicted, taus)


def folds(count: int, number: int, seed: int) -> np.ndarray:
    """The fold of each of `count` archs, drawn at random, int (count,); sizes differ by at most one."""
    order = list(range(count))
    python_rng(seed, "predictor/folds").shuffle(order)
    fold = np.empty(count, np.int64)
    fold[order] = np.arange(count) % number
    return fold


def taus_by_fold(values: np.ndarray, measured: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Kendall's τ between two numbers of each arch (n,), within each fold (k,)."""
    return np.array([tau(values[fold == number], measured[fold == number]) for number in range(fold.max() + 1)])


def tau(values: ArrayLike, measured: ArrayLike) -> float:
    """Kendall's τ of two numbers of each arch (n,); 0 where one of them is the same for all."""
    from scipy.stats import kendalltau  # takes longer to import than to run

    if not _vary(values, measured):
        return 0.0
    result: Any = kendalltau(values, measured)
    return float(result.statistic)


def agreement(predicted: ArrayLike, measured: ArrayLike) -> dict[str, float]:
    """Kendall's τ, Spearman's ρ and RMSE (points) of accuracies in [0, 1] (n,); τ = ρ = 0 without spread."""
    from scipy.stats import spearmanr

    rho = 0.0
    if _vary(predicted, measured):
        result: Any = spearmanr(predicted, measured)
        rho = float(result.statistic)
    error = float(np.sqrt(np.mean((np.asarray(predicted) - np.asarray(measured)) ** 2))) * 100
    values = {"kendall_tau": tau(predicted, measured), "spearman": rho, "rmse_points": error}
    return {name: round(value, 4) for name, value in values.items()}


def _vary(*sides: ArrayLike) -> bool:
    return all(np.size(side) > 1 and np.ptp(side) > 0 for side in sides)
