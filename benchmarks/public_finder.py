"""OFA's evolutionary search as the notebook published with it runs it: the other side of a comparison, nothing else.

An arch is a dictionary of Python lists that is copied deeply for each child; MACs are summed block by block out of a
table; a whole population is encoded list by list and then predicted in one forward pass. Written for the benchmark,
with the predictor's weights taken from ours.
"""

from __future__ import annotations

import copy
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from dεps.search.predictor import Predictor
from dεps.spaces.encoding import alike
from dεps.spaces.space import Arch, Block, SearchSpace

#: archs of a generation, share of them that breeds, share of the children that are mutants, probability of a mutation
POPULATION, PARENTS, MUTANTS, RATE = 100, 0.25, 0.5, 0.1
#: generations after the first
GENERATIONS = 500

#: kernels `k` and expand ratios `e` of all blocks, active or not, depths `d` of the stages, resolution `r`
Choice = dict[str, list]
#: predicted accuracy, arch, MACs
Member = tuple[float, Choice, float]


class MacsTable:
    """MACs of an arch, in millions, by a table that has the blocks' for each kernel and expand ratio."""

    def __init__(self, space: SearchSpace, classes: int) -> None:
        #: stage of each block, and its position there
        self.places = [(n, position) for n, stage in enumerate(space.stages) for position in range(stage.depth[-1])]
        self.blocks: list[dict[tuple[int, float], float]] = [{} for _ in self.places]
        stage = space.stages[0]
        for k, kernel in enumerate(stage.kernel):
            for e, expand in enumerate(stage.expand):
                self.rest = 0.0
                for layer in space.layers(alike(space, [0, k, e]), classes, 3):
                    if layer.slot is None:
                        self.rest += layer.macs / 1e6
                    else:
                        row = self.blocks[layer.slot]
                        row[kernel, expand] = row.get((kernel, expand), 0.0) + layer.macs / 1e6

    def __call__(self, choice: Choice) -> float:
        total = self.rest
        for block, row in enumerate(self.blocks):
            stage, position = self.places[block]
            if position < choice["d"][stage]:
                kernel, expand = choice["k"][block], choice["e"][block]
                total += row[kernel, expand]
        return total


class ListPredictor:
    """Accuracies of a population by the MLP: a list of ones and zeros an arch, then one forward pass."""

    def __init__(self, space: SearchSpace, model: Predictor) -> None:
        stage = space.stages[0]
        self.offsets, blocks = _offsets(space), _offsets(space)[-1]
        self.kernels = {kernel: place for place, kernel in enumerate(stage.kernel)}
        self.expands = {expand: place for place, expand in enumerate(stage.expand)}
        k, e = len(self.kernels), len(self.expands)
        # Ours has each block's kernel and expand ratio side by side; here all kernels come first.
        ours = np.arange(blocks * (k + e)).reshape(blocks, k + e)
        columns = [*ours[:, :k].ravel(), *ours[:, k:].ravel(), blocks * (k + e)]
        self.features, self.first_expand = len(columns), blocks * k
        state = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in model.state.items()}
        names = [name.removesuffix(".weight") for name in sorted(state) if name.endswith(".weight")]
        state["hidden.0.weight"] = state["hidden.0.weight"][:, columns]
        layers: list[nn.Module] = []
        for name in names:
            weight = state[f"{name}.weight"]
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": weight, "bias": state[f"{name}.bias"]})
            layers += [linear, nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])

    @torch.no_grad()
    def __call__(self, population: list[Choice]) -> Tensor:
        rows = []
        for choice in population:
            own = {name: copy.deepcopy(values) for name, values in choice.items()}
            rows.append(self._features(own).reshape(1, -1))
        return self.net(torch.cat(rows, 0)).cpu()

    def _features(self, choice: Choice) -> Tensor:
        """Ones and zeros: kernels of all blocks, then expand ratios, then the resolution, of which there is one."""
        for stage, depth in enumerate(choice["d"]):
            for block in range(self.offsets[stage] + depth, self.offsets[stage + 1]):
                choice["k"][block] = choice["e"][block] = None
        ones, k, e = [0] * self.features, len(self.kernels), len(self.expands)
        for block, kernel in enumerate(choice["k"]):
            if kernel is not None:
                ones[k * block + self.kernels[kernel]] = 1
        for block, expand in enumerate(choice["e"]):
            if expand is not None:
                ones[self.first_expand + e * block + self.expands[expand]] = 1
        ones[-1] = 1
        return torch.Tensor(ones)


class PublicFinder:
    """The search for the best arch of no more MACs (in millions) than `limit`."""

    def __init__(self, space: SearchSpace, macs: MacsTable, accuracy: ListPredictor, limit: float, seed: int) -> None:
        stage = space.stages[0]
        self.kernels, self.expands, self.depths = stage.kernel, stage.expand, stage.depth
        self.resolutions = space.resolution
        self.stages, self.blocks = len(space.stages), _offsets(space)[-1]
        self.macs, self.accuracy, self.limit = macs, accuracy, limit
        self.random, self.numpy = Random(seed), np.random.RandomState(seed)

    def run(self, generations: int = GENERATIONS) -> Member:
        """The best of all that were judged: of the first population and so many more generations of children."""
        parents, mutants = round(PARENTS * POPULATION), round(MUTANTS * POPULATION)
        population = self._judged([self._drawn() for _ in range(POPULATION)])
        for _ in range(generations):
            population = sorted(population, key=lambda member: member[0], reverse=True)[:parents]
            children = [self._mutant(self._one_of(population)) for _ in range(mutants)]
            for _ in range(POPULATION - mutants):
                children.append(self._crossed(self._one_of(population), self._one_of(population)))
            population = population + self._judged(children)
        return max(population, key=lambda member: member[0])

    def _judged(self, children: list[tuple[Choice, float]]) -> list[Member]:
        scores = self.accuracy([choice for choice, _ in children])
        return [(scores[n].item(), choice, macs) for n, (choice, macs) in enumerate(children)]

    def _one_of(self, population: list[Member]) -> Choice:
        return population[self.numpy.randint(len(population))][1]

    def _drawn(self) -> tuple[Choice, float]:
        while True:
            choice = {
                "d": [self.random.choice(self.depths) for _ in range(self.stages)],
                "e": [self.random.choice(self.expands) for _ in range(self.blocks)],
                "k": [self.random.choice(self.kernels) for _ in range(self.blocks)],
                "r": [self.random.choice(self.resolutions)],
            }
            if (macs := self.macs(choice)) <= self.limit:
                return choice, macs

    def _mutant(self, parent: Choice) -> tuple[Choice, float]:
        while True:
            choice = copy.deepcopy(parent)
            if self.random.random() < RATE:
                choice["r"][0] = self.random.choice(self.resolutions)
            for block in range(self.blocks):
                if self.random.random() < RATE:
                    choice["k"][block] = self.random.choice(self.kernels)
                    choice["e"][block] = self.random.choice(self.expands)
            for stage in range(self.stages):
                if self.random.random() < RATE:
                    choice["d"][stage] = self.random.choice(self.depths)
            if (macs := self.macs(choice)) <= self.limit:
                return choice, macs

    def _crossed(self, mother: Choice, father: Choice) -> tuple[Choice, float]:
        while True:
            choice = copy.deepcopy(mother)
            for name, values in choice.items():
                for place in range(len(values)):
                    values[place] = self.random.choice([mother[name][place], father[name][place]])
            if (macs := self.macs(choice)) <= self.limit:
                return choice, macs


def arch_of(space: SearchSpace, choice: Choice) -> Arch:
    """The arch that a choice stands for."""
    starts = _offsets(space)
    stages = tuple(
        tuple(Block(choice["k"][block], choice["e"][block]) for block in range(start, start + depth))
        for start, depth in zip(starts, choice["d"], strict=False)
    )
    return Arch(stages, choice["r"][0], ())


def _offsets(space: SearchSpace) -> list[int]:
    """Number of the first block of each stage, and of all blocks."""
    return [0, *np.cumsum([stage.depth[-1] for stage in space.stages]).tolist()]
