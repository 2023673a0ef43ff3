"""Searches archs that trade predicted accuracy against cost: NSGA-II (Deb et al. 2002) on arrays of genomes.

With two objectives, ranking needs no comparison of all pairs, so a candidate costs little more than its prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from dεps.core.given import Hash
from dεps.core.schema import Images, checked
from dεps.core.stopwatch import computing
from dεps.spaces.encoding import translate
from dεps.spaces.space import Arch, SearchSpace


@checked
class SearchConfig:
    """The `search` section of an experiment."""

    #: archs of a generation
    population: Annotated[int, Field(ge=4, le=100_000)] = 100
    generations: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    #: archs of the front that are measured on validation, evenly spread over its MACs
    measured: Annotated[int, Field(ge=1, le=100_000)] = 8
    #: rounds of search, measuring and fitting the predictor anew; each measures so many
    rounds: Annotated[int, Field(ge=1, le=1000)] = 1
    #: parameters that an arch may have; None: any number
    max_params: Annotated[int, Field(ge=1, le=10**15)] | None = None
    #: file of a latency table: a second search in each round has its milliseconds as the cost, and measures as many
    latency: str | None = None
    #: of that file, by which results know it; `deps params` fills it in
    latency_sha256: Hash | None = None
    #: training images for BN recalibration
    recalibration_images: Images = 2000

    @model_validator(mode="after")
    def _fits(self) -> SearchConfig:
        if self.latency is None and self.latency_sha256 is not None:
            raise ValueError("latency_sha256 is set; expected latency too, the file that has it")
        return self


#: function from genomes int (n, genes) to one number each (n,)
Judge = Callable[[np.ndarray], np.ndarray]
#: draws of so many times a generation, until a limit leaves enough for the first one
DRAWS = 50


@computing()
def search(
    space: SearchSpace,
    score: Judge,
    cost_of: Judge,
    config: SearchConfig,
    seed: int,
    allowed: Judge | None = None,
) -> list[tuple[Arch, float, float]]:
    """The front of all archs that were seen, as (arch, score, cost) by ascending cost.

    Args:
        score: predicted accuracy; higher is better.
        cost_of: MACs, whole numbers, or milliseconds; lower is better.
        allowed: bool (n,), which archs there may be; None: all. The smallest must be among them.
    """
    rng, genes, size = np.random.default_rng(seed), np.array(space.genes), config.population
    canonical, seen, small = translate(space, space), set[bytes](), np.min_scalar_type(int(genes.max()))

    def judged(candidates: np.ndarray) -> _Candidates:
        """Score the new ones; genes without a meaning, as of a layer that is left out, do not make an arch new."""
        candidates = canonical(candidates)
        keys = candidates.astype(small).view(f"V{small.itemsize * len(genes)}").ravel().tolist()
        places = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))  # of equal ones the first
        candidates = candidates[sorted(map(places.__getitem__, set(places) - seen))]
        seen.update(places)
        if allowed is not None:
            candidates = candidates[allowed(candidates)]
        return _Candidates(candidates, score(candidates), cost_of(candidates))

    first = rng.integers(0, genes, (size, len(genes)))
    first[:2] = np.zeros_like(genes), genes - 1  # both ends of the front, which random draws hardly reach
    population = judged(first)
    for _ in range(DRAWS if allowed is not None else 0):
        if len(population) < size:
            population = population + judged(rng.integers(0, genes, (size, len(genes))))
    population = population[population.order(size)]
    best = population.front()
    for _ in range(config.generations - 1):
        children = judged(_children(population.genomes, size, genes, rng))
        if len(children):
            together = population + children
            population = together[together.order(size)]
            best = (best + children).front()
    archs = [space.from_genome(genome) for genome in best.genomes.tolist()]
    return list(zip(archs, best.scores.tolist(), best.costs.tolist(), strict=True))


@dataclass(frozen=True)
class _Candidates:
    """Genomes int (n, genes) with their scores and costs (n,)."""

    genomes: np.ndarray
    scores: np.ndarray
    costs: np.ndarray

    def __len__(self) -> int:
        return len(self.genomes)

    def __getitem__(self, which: np.ndarray) -> _Candidates:
        return _Candidates(self.genomes[which], self.scores[which], self.costs[which])

    def __add__(self, other: _Candidates) -> _Candidates:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Candidates(*(np.concatenate(pair) for pair in pairs))

    def front(self) -> _Candidates:
        """Those that no other beats, by ascending cost."""
        ordered = self[np.lexsort((-self.scores, self.costs))]
        before = np.maximum.accumulate(np.concatenate([[-np.inf], ordered.scores[:-1]]))
        return ordered[ordered.scores > before]

    def ranks(self, enough: int) -> np.ndarray:
        """Ranks int (n,): 0 where nothing beats it, 1 where only rank 0 does, …; of two equals the second is behind.

        Once `enough` have their rank, the others share a last one.
        """
        order, ranks, rank = np.lexsort((-self.scores, self.costs)), np.full(len(self), len(self)), 0
        scores = self.scores[order]
        while len(order) > max(0, len(self) - enough):
            # By ascending cost, a front takes what scores higher than all before it.
            front = np.concatenate([[True], scores[1:] > np.maximum.accumulate(scores)[:-1]])
            ranks[order[front]] = rank
            order, scores, rank = order[~front], scores[~front], rank + 1
        return ranks

    def crowding(self, ranks: np.ndarray) -> np.ndarray:
        """Distance (n,) between the neighbours of each in its rank, as a share of the range; infinite at the ends."""
        order = np.lexsort((self.costs, ranks))
        distance = np.full(len(self), np.inf)
        inner = np.flatnonzero((ranks[order[:-2]] == ranks[order[1:-1]]) & (ranks[order[1:-1]] == ranks[order[2:]])) + 1
        total = np.zeros(len(inner))
        for values in (self.costs, self.scores):
            sorted_values, span = values[order].astype(float), np.ptp(values)
            total += np.abs(sorted_values[inner + 1] - sorted_values[inner - 1]) / (span or 1.0)
        distance[order[inner]] = total
        return distance

    def order(self, count: int) -> np.ndarray:
        """Indices of the fittest `count` at most, from the fittest on: by rank, then by crowding."""
        ranks = self.ranks(count)
        return np.lexsort((-self.crowding(ranks), ranks))[:count]


def _children(parents: np.ndarray, count: int, genes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Genomes (count, genes) of children of `parents`, which are ordered from the fittest on.

    Winners of binary tournaments are crossed uniformly; then one gene per child, on average, is drawn anew.
    """
    mother, father = parents[rng.integers(0, len(parents), (2, 2, count)).min(0)]
    children = np.where(rng.random(mother.shape) < 0.5, mother, father)
    drawn = rng.integers(0, genes, children.shape)
    return np.where(rng.random(children.shape) < 1.0 / len(genes), drawn, children)


def spread(front: list[tuple[Arch, float, float]], count: int) -> list[tuple[Arch, float, float]]:
    """At most `count` members of a front, evenly spread over its costs, both ends among them."""
    if len(front) <= count:
        return front
    targets = np.linspace(front[0][2], front[-1][2], count)
    chosen = {int(np.argmin([abs(item[2] - target) for item in front])) for target in targets}
    return [front[index] for index in sorted(chosen)]
