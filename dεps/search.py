"""Search for archs that trade predicted accuracy against MACs, with pymoo's NSGA-II."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from dεps.errors import check_numbers
from dεps.search_space import Arch, SearchSpace
from dεps.stopwatch import computing


@dataclass
class SearchConfig:
    """The `search` section of an experiment."""

    population: int = 100
    generations: int = 50
    #: archs of the front that are measured on validation, evenly spread over its MACs
    measured: int = 8
    recalibration_images: int = 2000

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        check_numbers(self, where, population=(4, 10**5), generations=(1, 10**6), measured=(1, 10**5))
        check_numbers(self, where, recalibration_images=(2, 10**9))


#: genomes int (n, genes) to one number each (n,)
Judge = Callable[[np.ndarray], np.ndarray]


class _ArchProblem(Problem):
    def __init__(self, space: SearchSpace, score: Judge, macs_of: Judge) -> None:
        genes = np.asarray(space.genes)
        super().__init__(n_var=len(genes), n_obj=2, xl=np.zeros_like(genes), xu=genes - 1, vtype=int)
        self.score, self.macs_of = score, macs_of

    def _evaluate(self, x: np.ndarray, out: dict, *args: object, **kwargs: object) -> None:
        out["F"] = np.column_stack([-self.score(x), self.macs_of(x)])


@computing()
def search(
    space: SearchSpace, score: Judge, macs_of: Judge, config: SearchConfig, seed: int
) -> list[tuple[Arch, float, int]]:
    """The non-dominated archs found: (arch, score, MACs), by ascending MACs.

    Args:
        score: predicted accuracy; higher is better.
        macs_of: MACs.
    """
    algorithm = NSGA2(
        pop_size=config.population,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),
        mutation=PolynomialMutation(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    result = minimize(_ArchProblem(space, score, macs_of), algorithm, ("n_gen", config.generations), seed=seed)
    found = {}
    for genome, (negative, macs) in zip(np.atleast_2d(result.X), np.atleast_2d(result.F), strict=True):
        found[space.from_genome(genome.tolist())] = (-float(negative), int(macs))
    return sorted(((arch, score, macs) for arch, (score, macs) in found.items()), key=lambda item: item[2])


def spread(front: list[tuple[Arch, float, int]], count: int) -> list[tuple[Arch, float, int]]:
    """At most `count` members of a front, both ends included, spaced evenly over its MACs."""
    if len(front) <= count:
        return front
    targets = np.linspace(front[0][2], front[-1][2], count)
    chosen = {int(np.argmin([abs(item[2] - target) for item in front])) for target in targets}
    return [front[index] for index in sorted(chosen)]
