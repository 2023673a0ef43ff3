"""Search on predicted accuracy: against OFA's finder, and against the predictor's matrix products alone."""

from __future__ import annotations

from random import Random

import numpy as np

from benchmarks.public_finder import POPULATION, ListPredictor, MacsTable, PublicFinder
from benchmarks.timing import GAIN, SPEEDUP, Comparison, in_turn
from dεps.search.nsga2 import SearchConfig, search
from dεps.search.predictor import PredictConfig, fit, predict
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes, macs_of_genomes
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.presets import load_space

CLASSES, OUR_POPULATION, LIMITS = 100, 500, 10


class Task:
    """A predictor of accuracies that grow with MACs, and with depth more than with width."""

    def __init__(self, space: str) -> None:
        self.space: SearchSpace = load_space(space)
        rng = Random(0)
        archs = [self.space.sample(rng) for _ in range(500)]
        macs = np.array([arch_cost(self.space, arch, CLASSES).macs for arch in archs])
        blocks = np.array([sum(arch.depths) for arch in archs])
        accuracy = 0.6 + 0.05 * np.log(macs / macs.min()) + 0.004 * blocks
        codes = encode_genomes(self.space, np.array([self.space.to_genome(arch) for arch in archs]))
        self.model = fit("mlp", codes, accuracy, PredictConfig(epochs=40, batch_size=64), seed=0)
        # OFA's finder draws until an arch meets the limit: below what 1 in 100 random archs meets, it hardly ends.
        largest = arch_cost(self.space, self.space.largest(), CLASSES).macs
        self.limits = np.linspace(np.percentile(macs, 1), largest, LIMITS)
        self.macs_of = macs_of_genomes(self.space, CLASSES)
        self.finder = MacsTable(self.space, CLASSES), ListPredictor(self.space, self.model)

    def front(self, candidates: int) -> list[tuple[Arch, float, float]]:
        """NSGA-II over arrays: all budgets at once."""
        config = SearchConfig(population=OUR_POPULATION, generations=max(1, candidates // OUR_POPULATION))
        score = lambda genomes: predict(self.model, encode_genomes(self.space, genomes))  # noqa: E731
        return search(self.space, score, self.macs_of, config, 0)

    def best_of(self, front: list[tuple[Arch, float, float]]) -> float:
        """Mean over the limits of the best predicted accuracy within."""
        return float(np.mean([max(score for _, score, macs in front if macs <= limit) for limit in self.limits]))

    def best_found(self, candidates: int) -> float:
        """The same mean of what OFA's finder returns, which is run under each limit over so many candidates."""
        runs = [PublicFinder(self.space, *self.finder, limit / 1e6, seed) for seed, limit in enumerate(self.limits)]
        return float(np.mean([run.run(max(1, candidates // POPULATION - 1))[0] for run in runs]))

    def products(self, candidates: int) -> None:
        """The predictor's matrix products for so many candidates, in generations, and nothing else."""
        sizes = [self.model.state[name] for name in sorted(self.model.state) if name.endswith("weight")]
        codes = np.ones((OUR_POPULATION, sizes[0].shape[1]), np.float32)
        for _ in range(max(1, candidates // OUR_POPULATION)):
            values = codes
            for weight in sizes:
                values = values @ weight.T


def against_finder(space: str, candidates: int, rounds: int) -> tuple[Comparison, ...]:
    """Seconds a candidate, seconds until ten limits are served, and how good what was found is."""
    task, quality = Task(space), ([], [])
    task.front(candidates)  # the finder's many generations need no warm-up
    ours, theirs = in_turn(
        lambda: quality[0].append(task.best_of(task.front(candidates))),
        lambda: quality[1].append(task.best_found(candidates)),
        rounds,
        warmup=0,
    )
    finder = "the same work as OFA's finder does it, by the same predictor: `benchmarks/public_finder.py`"
    work, once = f"search over {candidates:,} candidates of `{space}`", [seconds / LIMITS for seconds in theirs]
    found = f"best archs of `{space}` under {LIMITS} limits of MACs, {candidates:,} candidates"
    under_each = f"OFA's finder, {candidates:,} candidates under each of them, its own setting"
    again, products = in_turn(lambda: task.front(candidates), lambda: task.products(candidates), 2 * rounds, warmup=1)
    return (
        Comparison(work, ours, finder, once, 20.0, SPEEDUP),
        Comparison(work, again, "the predictor's matrix products alone", products, 2.0),
        Comparison(found, ours, under_each, theirs, 20.0, SPEEDUP),
        Comparison("mean of their predicted accuracies", quality[0], under_each, quality[1], 1.0, GAIN, ""),
    )
