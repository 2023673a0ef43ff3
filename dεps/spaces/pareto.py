"""Finds Pareto fronts of accuracy over cost, and sums them up in one number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def mean_pareto_accuracy(macs: Sequence[float], accuracy: Sequence[float]) -> float:
    """Area below the line through the points (MACs, accuracy), divided by the range of MACs.

    This reproduces the DεpS paper's "mean Pareto accuracy" from its published points; a plain mean does not. Raises
    `ValueError` where fewer than two have different MACs.
    """
    points = sorted(zip(macs, accuracy, strict=True))
    width = points[-1][0] - points[0][0] if points else 0
    if width <= 0:
        raise ValueError("a mean over the front needs at least two different MACs")
    area = sum((m2 - m1) * (a1 + a2) / 2 for (m1, a1), (m2, a2) in itertools.pairwise(points))
    return area / width


def hypervolume(cost: Sequence[float], accuracy: Sequence[float], most: float) -> float:
    """Area that the points dominate up to cost `most` and down to accuracy 0, divided by `most`.

    In units of accuracy: that of the best arch within a budget, averaged over all budgets up to `most`; a budget below
    the cheapest point counts as 0. Points beyond `most` add nothing.
    """
    best = front(cost, accuracy)
    ends = [*(cost[index] for index in best[1:]), most]
    widths = [max(0.0, min(end, most) - cost[index]) for index, end in zip(best, ends, strict=True)]
    return sum(width * accuracy[index] for width, index in zip(widths, best, strict=True)) / most


def front(cost: Sequence[float], accuracy: Sequence[float]) -> list[int]:
    """Indices, by ascending cost, of the points to which no other is both cheaper and at least as accurate."""
    best, chosen = float("-inf"), []
    for index in sorted(range(len(cost)), key=lambda i: (cost[i], -accuracy[i])):
        if accuracy[index] > best:
            best = accuracy[index]
            chosen.append(index)
    return chosen
