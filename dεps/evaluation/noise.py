"""How sure a top-1 is: standard errors in points, of one accuracy and of a difference on the same images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

#: a difference of fewer standard errors is noise
ERRORS = 2.0


class Difference(NamedTuple):
    """A first model's top-1 minus a second's, in points, with its standard error."""

    points: float
    error: float

    @property
    def is_noise(self) -> bool:
        """Whether the images cannot tell which of the two is better."""
        return abs(self.points) <= ERRORS * self.error

    def __str__(self) -> str:
        return f"{self.points:+.2f} ± {self.error:.2f} points"


def standard_error(top1: float, images: int) -> float:
    """Binomial standard error in points of a top-1 in percent.

    Where all images are right, or none, it is that of half an image less, or more: a few images prove no certainty.
    """
    share = min(max(top1 / 100, 0.5 / images), 1 - 0.5 / images)
    return round(100 * math.sqrt(share * (1 - share) / images), 4)


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Of two models on the same images, paired: bool (images,) each, whether an image is given its label.

    Only images on which the two differ count (McNemar); where there are none, one of them is taken to be.
    """
    images, gained, lost = len(first), int((first & ~second).sum()), int((~first & second).sum())
    variance = gained + lost - (gained - lost) ** 2 / images
    return Difference(round(100 * (gained - lost) / images, 4), round(100 * math.sqrt(max(variance, 1)) / images, 4))
