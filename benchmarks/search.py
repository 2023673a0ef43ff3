"""Search on predicted accuracy: whole populations at once, and arch by arch."""

from __future__ import annotations

from random import Random

import numpy as np

from benchmarks.timing import GAIN, SPEEDUP, Comparison, in_turn
from dεps.search.nsga2 import SearchConfig, search
from dεps.search.predictor import PredictConfig, Predictor, fit, predict
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes, macs_of_genomes
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.presets import load_space

CLASSES = 100
#: of OFA's evolutionary search (its public tutorial): population, share that breeds, share of mutants, mutation rate
POPULATION, PARENTS, MUTANTS, RATE = 100, 0.25, 0.5, 0.1


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
        largest, smallest = self.space.largest(), self.space.smallest()
        self.low, self.high = (arch_cost(self.space, arch, CLASSES).macs for arch in (smallest, largest))

    def hypervolume(self, front: list[tuple[Arch, float, int]]) -> float:
        """Of a front of (arch, accuracy, MACs): the mean over MACs of the best accuracy for no more."""
        points = sorted((macs, score) for _, score, macs in front)
        macs = np.array([macs for macs, _ in points] + [self.high])
        best = np.maximum.accumulate([score for _, score in points])
        return float((np.diff(macs) * best).sum() / (self.high - self.low))

    def together(self, candidates: int) -> list[tuple[Arch, float, int]]:
        """NSGA-II over arrays."""
        config = SearchConfig(population=1000, generations=max(1, candidates // 1000))
        macs_of = macs_of_genomes(self.space, CLASSES)
        return search(
            self.space, lambda genomes: predict(self.model, encode_genomes(self.space, genomes)), macs_of, config, 0
        )

    def one_by_one(self, candidates: int, budgets: int = 10) -> list[tuple[Arch, float, int]]:
        """OFA's evolutionary search under each of some budgets, over Python objects."""
        limits = np.linspace(self.low, self.high, budgets + 1)[1:]
        rounds = max(1, candidates // budgets // POPULATION - 1)
        found = [_evolve(self.space, self.model, int(limit), rounds, Random(n)) for n, limit in enumerate(limits)]
        return [(arch, score, macs) for population in found for score, macs, arch in population]


def _judge(space: SearchSpace, model: Predictor, arch: Arch, macs: int) -> tuple[float, int, Arch]:
    return float(predict(model, encode_genomes(space, np.array([space.to_genome(arch)])))[0]), macs, arch


def _evolve(
    space: SearchSpace, model: Predictor, limit: int, rounds: int, rng: Random
) -> list[tuple[float, int, Arch]]:
    """The breeding part of the last population."""

    def within(make) -> tuple[float, int, Arch]:
        while True:
            arch = make()
            if (macs := arch_cost(space, arch, CLASSES).macs) <= limit:
                return _judge(space, model, arch, macs)

    def crossed(a: Arch, b: Arch) -> Arch:
        pairs = zip(space.to_genome(a), space.to_genome(b), strict=True)
        return space.from_genome([rng.choice(pair) for pair in pairs])

    def mutant(arch: Arch) -> Arch:
        genes = zip(space.to_genome(arch), space.genes, strict=True)
        return space.from_genome([rng.randrange(choices) if rng.random() < RATE else gene for gene, choices in genes])

    # Uniform draws hardly ever meet a low limit: the first population are the smallest arch's mutants.
    population = [within(lambda: mutant(space.smallest())) for _ in range(POPULATION)]
    for _ in range(rounds):
        parents = sorted(population, key=lambda item: -item[0])[: round(PARENTS * POPULATION)]
        mutants = [within(lambda: mutant(rng.choice(parents)[2])) for _ in range(round(MUTANTS * POPULATION))]
        children = [
            within(lambda: crossed(rng.choice(parents)[2], rng.choice(parents)[2]))
            for _ in range(POPULATION - len(mutants))
        ]
        population = parents + mutants + children
    return sorted(population, key=lambda item: -item[0])[: round(PARENTS * POPULATION)]


def against_lists(space: str, candidates: int, rounds: int) -> tuple[Comparison, Comparison]:
    """Seconds, and what they found."""
    task, volumes = Task(space), ([], [])
    ours, theirs = in_turn(
        lambda: volumes[0].append(task.hypervolume(task.together(candidates))),
        lambda: volumes[1].append(task.hypervolume(task.one_by_one(candidates))),
        rounds,
        warmup=0,
    )
    work = f"search over {candidates:,} candidates of `{space}`"
    against = "evolution under ten budgets as OFA's, in Python lists, one forward a candidate"
    seconds = Comparison(work, ours, against, theirs, 30.0, SPEEDUP)
    return seconds, Comparison(f"hypervolume of its front, `{space}`", volumes[0], against, volumes[1], 1.0, GAIN, "")
