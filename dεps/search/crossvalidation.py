"""Cross-validation of the accuracy predictor: how well it orders archs that it has not seen, and which one to take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dεps.core.randomness import python_rng
from dεps.search.predictor import PredictConfig, fit, predict


@dataclass(frozen=True)
class CrossValidation:
    """What each candidate, fitted to the other folds, says of the archs of each fold.

    Accuracies are in [0, 1]; n archs, k folds.
    """

    #: number of each arch's fold (n,)
    fold: np.ndarray
    #: (n,)
    measured: np.ndarray
    #: of each candidate, (n,)
    predicted: dict[str, np.ndarray]
    #: of each candidate, Kendall's τ within each fold (k,)
    taus: dict[str, np.ndarray]

    def best(self, folds: Iterable[int]) -> str:
        """The candidate with the highest mean τ over some folds; of equals the one with the smaller error."""
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
        """Predictions (n,) and τ by fold (k,) of choosing: in each fold stands the candidate best on the others.

        The τ of the chosen one is the highest of several, partly by luck; this one is not.
        """
        folds = range(self.fold.max() + 1)
        names = [self.best(other for other in folds if other != fold) for fold in folds]
        taus = np.array([self.taus[name][fold] for fold, name in enumerate(names)])
        return np.array([self.predicted[names[fold]][n] for n, fold in enumerate(self.fold)]), taus


def cross_validate(codes: np.ndarray, accuracy: np.ndarray, config: PredictConfig, seed: int) -> CrossValidation:
    """Fit every candidate once a fold. Encodings (n, features), accuracies in [0, 1] (n,)."""
    fold = folds(len(codes), config.folds, seed)
    predicted = {name: np.empty(len(codes)) for name in config.candidates}
    for number in range(config.folds):
        held = fold == number
        for name, values in predicted.items():
            values[held] = predict(fit(name, codes[~held], accuracy[~held], config, seed), codes[held])
    taus = {name: taus_by_fold(values, accuracy, fold) for name, values in predicted.items()}
    return CrossValidation(fold, accuracy, predicted, taus)


def folds(count: int, number: int, seed: int) -> np.ndarray:
    """The fold of each of `count` archs, drawn at random; sizes differ by one at most."""
    order = list(range(count))
    python_rng(seed, "predictor/folds").shuffle(order)
    fold = np.empty(count, np.int64)
    fold[order] = np.arange(count) % number
    return fold


def taus_by_fold(values: np.ndarray, measured: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Kendall's τ between two numbers of each arch, within each fold (k,)."""
    return np.array([tau(values[fold == number], measured[fold == number]) for number in range(fold.max() + 1)])


def tau(values: Sequence[float], measured: Sequence[float]) -> float:
    """Kendall's τ; 0 where one side has no spread."""
    from scipy.stats import kendalltau  # takes longer to import than to run

    return float(kendalltau(values, measured).statistic) if _vary(values, measured) else 0.0


def agreement(predicted: Sequence[float], measured: Sequence[float]) -> dict[str, float]:
    """Kendall's τ, Spearman's ρ and RMSE (percentage points) of accuracies in [0, 1]; τ = ρ = 0 without spread."""
    predicted, measured = np.asarray(predicted), np.asarray(measured)
    from scipy.stats import spearmanr

    rho = float(spearmanr(predicted, measured).statistic) if _vary(predicted, measured) else 0.0
    error = float(np.sqrt(np.mean((predicted - measured) ** 2))) * 100
    return {
        "kendall_tau": round(tau(predicted, measured), 4),
        "spearman": round(rho, 4),
        "rmse_points": round(error, 4),
    }


def _vary(*sides: Sequence[float]) -> bool:
    return all(len(side) > 1 and np.ptp(side) > 0 for side in sides)
