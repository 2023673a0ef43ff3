"""Fits logistic regression on pixels, the simplest baseline that a network has to beat."""

from __future__ import annotations

import warnings
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dεps.core.randomness import python_rng
from dεps.core.schema import Images, checked
from dεps.core.stopwatch import computing
from dεps.data.augment import resize
from dεps.data.splits import PreparedData, Split

#: images with a side above LARGEST pixels are shrunk to SHRUNK, since all pixels of all images must fit in memory
LARGEST, SHRUNK = 64, 32


@checked
class ReferenceConfig:
    """The `reference` section of an experiment."""

    #: training images for the full model's BN recalibration
    recalibration_images: Images = 2000
    #: training images for logistic regression, at most
    logistic_images: Images = 10_000
    #: iterations of its solver (L-BFGS), at most
    logistic_iterations: Annotated[int, Field(ge=2, le=1_000_000)] = 100


@computing()
def logistic_regression(data: PreparedData, config: ReferenceConfig) -> float:
    """Top-1 on test, in percent, of L2-regularised multinomial logistic regression on standardised pixels."""
    x, y = _pixels(data.train, config.logistic_images)
    mean, std = x.mean(0), x.std(0) + 1e-3
    model = LogisticRegression(C=1e-3, max_iter=config.logistic_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((x - mean) / std, y)
    test_x, test_y = _pixels(data.test, len(data.test))
    return 100.0 * float(model.score((test_x - mean) / std, test_y))


def _pixels(split: Split, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels float32 (n, pixels) in [0, 1] of at most `limit` random images, large ones shrunk, and labels (n,)."""
    rows = sorted(python_rng(0, "logistic regression").sample(range(len(split)), min(limit, len(split))))
    indices = torch.tensor(rows)
    side = split.size if split.size <= LARGEST else SHRUNK
    parts = [resize(split.read(part), side).flatten(1) for part in indices.split(1000)]
    images = torch.cat(parts).numpy().astype(np.float32) / 255
    return images, split.labels[indices].numpy()
