"""The simplest thing that a network has to beat: logistic regression on the pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dεps.core.errors import check_numbers
from dεps.core.randomness import python_rng
from dεps.core.stopwatch import computing
from dεps.data.augment import resize
from dεps.data.splits import PreparedData, Split

#: images of a larger side are shrunk for logistic regression, which would otherwise need the memory of all their pixels
LARGEST, SHRUNK = 64, 32


@dataclass
class ReferenceConfig:
    """The `reference` section of an experiment."""

    #: training images for the full model's BN recalibration
    recalibration_images: int = 2000
    #: at most so many training images for logistic regression
    logistic_images: int = 10_000
    logistic_iterations: int = 100

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        images = (2, 10**9)
        check_numbers(self, where, recalibration_images=images, logistic_images=images, logistic_iterations=(2, 10**6))


@computing()
def logistic_regression(data: PreparedData, config: ReferenceConfig) -> float:
    """Top-1 on test in percent of an L2-regularised multinomial logistic regression on standardised pixels."""
    x, y = _pixels(data.train, config.logistic_images)
    mean, std = x.mean(0), x.std(0) + 1e-3
    model = LogisticRegression(C=1e-3, max_iter=config.logistic_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - mean) / std, y)
    test_x, test_y = _pixels(data.test, len(data.test))
    return 100.0 * float(model.score((test_x - mean) / std, test_y))


def _pixels(split: Split, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `limit` images as float32 (n, pixels), large ones shrunk, and labels (n,)."""
    rows = sorted(python_rng(0, "logistic regression").sample(range(len(split)), min(limit, len(split))))
    indices = torch.tensor(rows)
    side = split.size if split.size <= LARGEST else SHRUNK
    parts = [resize(split.read(part), side).flatten(1) for part in indices.split(1000)]
    images = torch.cat(parts).numpy().astype(np.float32) / 255
    return images, split.labels[indices].numpy()
