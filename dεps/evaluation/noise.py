"""Standard errors, in points, of a top-1 and of the difference of two on the same images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

#: a difference of at most this many standard errors counts as noise
ERRORS = 2.0


class Difference(NamedTuple):
    """One model's top-1 minus another's, in points, with its standard error."""

    points: float
    error: float

    @property
    def is_noise(self) -> bool:
        """Whether these images cannot tell which model is better."""
        return abs(self.points) <= ERRORS * self.error

    def __str__(self) -> str:
        return f"{self.points:+.2f} ± {self.error:.2f} points"


def standard_error(top1: float, images: int) -> float:
    """Binomial standard error, in points, of a top-1 in percent.

    Where all images are classified correctly, or none, half an image is taken to be otherwise, since few images never
    prove certainty.
    """
    share = min(max(top1 / 100, 0.5 / images), 1 - 0.5 / images)
    return round(100 * math.sqrt(share * (1 - share) / images), 4)


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Paired difference of two models: bool (images,) each, whether an image is classified correctly.

    Only images on which the two differ count, as in McNemar's test; where there are none, one is taken to differ.
    """
    images, gained, lost = len(first), int((first & ~second).sum()), int((~first & second).sum())
    variance = gained + lost - (gained - lost) ** 2 / images
    return Difference(round(100 * (gained - lost) / images, 4), round(100 * math.sqrt(max(variance, 1)) / images, 4))
