"""Fronts of accuracy over cost, and the numbers that sum them up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def mean_pareto_accuracy(macs: Sequence[float], accuracy: Sequence[float]) -> float:
    """Area under accuracy over MACs through the points (trapezoids), divided by the MAC range.

    This is how the DεpS paper's "mean Pareto accuracy" comes out of its published points; a plain mean does not give
    it. Points are sorted by MACs; raises `ValueError` for fewer than two different ones.
    """
    points = sorted(zip(macs, accuracy, strict=True))
    width = points[-1][0] - points[0][0] if points else 0
    if width <= 0:
        raise ValueError("a mean over the front needs at least two different MACs")
    area = sum((m2 - m1) * (a1 + a2) / 2 for (m1, a1), (m2, a2) in itertools.pairwise(points))
    return area / width


def front(cost: Sequence[float], accuracy: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats (cheaper and at least as accurate), by ascending cost."""
    best, chosen = float("-inf"), []
    for index in sorted(range(len(cost)), key=lambda i: (cost[i], -accuracy[i])):
        if accuracy[index] > best:
            best = accuracy[index]
            chosen.append(index)
    return chosen
