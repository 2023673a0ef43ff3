"""Encodes whole populations of archs at once, counts their MACs, and translates them into another space.

A population is an integer array (n, genes), a genome per row, with the genes of `SearchSpace.genes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dεps.spaces.cost import params_of
from dεps.spaces.space import Arch, Layer, SearchSpace, Stage


def _stage_genes(space: SearchSpace) -> Iterator[tuple[Stage, int, list[tuple[int, int]]]]:
    """Each stage, and the positions of its genes in a genome: of its depth, and each block's kernel and expand."""
    gene = 1 + len(space.width_choices)
    for stage in space.stages:
        first = gene + 1
        blocks = [(first + 2 * position, first + 2 * position + 1) for position in range(stage.depth[-1])]
        yield stage, gene, blocks
        gene = first + 2 * stage.depth[-1]


def _active(space: SearchSpace, genomes: np.ndarray) -> np.ndarray:
    """Whether each gene means something, bool (n, genes): those of the blocks that a depth leaves out do not."""
    active = np.ones(genomes.shape, bool)
    for stage, depth_gene, blocks in _stage_genes(space):
        depth = np.asarray(stage.depth)[genomes[:, depth_gene], None]
        genes = slice(depth_gene + 1, depth_gene + 1 + 2 * len(blocks))
        active[:, genes] = np.repeat(np.arange(len(blocks)), 2) < depth
    return active


def encode_genomes(space: SearchSpace, genomes: np.ndarray) -> np.ndarray:
    """Encodings float32 (n, features) of genomes (n, genes), those of OFA's predictor.

    One-hot: kernel and expand of each block, zeros where it is inactive, then widths and resolution.
    """
    shared = 1 + len(space.width_choices)
    blocks = [gene for _, _, pairs in _stage_genes(space) for pair in pairs for gene in pair]
    order = [*blocks, *range(1, shared), 0]
    sizes = np.array(space.genes)[order]
    # Of each feature: its gene, and the choice that it stands for, which counts from 1, as 0 is an inactive block's.
    gene = np.repeat(order, sizes)
    choice = np.concatenate([np.arange(size) + 1 for size in sizes])
    small = np.min_scalar_type(int(sizes.max()))
    chosen = (genomes + 1).astype(small) * _active(space, genomes)
    return (chosen.take(gene, axis=1) == choice.astype(small)).astype(np.float32)


def alike(space: SearchSpace, choice: Sequence[int], deepest: bool = True) -> Arch:
    """Arch whose blocks all choose the same, at the largest depths or else the smallest.

    `choice` holds indices: of the resolution, of each width, of every block's kernel and of its expand ratio; the last
    where a stage has fewer.
    """
    *genome, kernel, expand = choice
    for stage in space.stages:
        pair = [min(kernel, len(stage.kernel) - 1), min(expand, len(stage.expand) - 1)]
        genome += [len(stage.depth) - 1 if deepest else 0, *(pair * stage.depth[-1])]
    return space.from_genome(genome)


def macs_of_genomes(space: SearchSpace, classes: int, channels: int = 3) -> Callable[[np.ndarray], np.ndarray]:
    """Function from genomes (n, genes) to MACs int64 (n,). Raises `ValueError` for coupled spaces; see `translate`."""
    return _sums_of_layers(space, classes, channels, lambda layer: layer.macs)


def params_of_genomes(space: SearchSpace, classes: int, channels: int = 3) -> Callable[[np.ndarray], np.ndarray]:
    """Function from genomes (n, genes) to parameters int64 (n,), those of `arch_cost`. Errors as `macs_of_genomes`."""
    return _sums_of_layers(space, classes, channels, params_of)


def _sums_of_layers(
    space: SearchSpace, classes: int, channels: int, cost: Callable[[Layer], int]
) -> Callable[[np.ndarray], np.ndarray]:
    """Function from genomes (n, genes) to the sum int64 (n,) of `cost` over an arch's layers.

    A block's cost depends only on its own choices, the resolution and the widths, so the archs that choose the same
    everywhere give a table that covers all archs.
    """
    if space.coupled:
        raise ValueError("a coupled space's expand genes mean nothing; translate to the whole space")
    stages = list(_stage_genes(space))
    shared = [len(space.resolution), *map(len, space.width_choices)]
    kernels = max(len(stage.kernel) for stage in space.stages)
    expands = max(len(stage.expand) for stage in space.stages)
    slots = sum(len(blocks) for _, _, blocks in stages)
    table = np.zeros((*shared, kernels, expands, slots + 1), np.int64)
    for choice in itertools.product(*map(range, table.shape[:-1])):
        for layer in space.layers(alike(space, choice), classes, channels):
            table[(*choice, slots if layer.slot is None else layer.slot)] += cost(layer)
    every = table.reshape(-1, kernels, expands, slots + 1)

    def sums(genomes: np.ndarray) -> np.ndarray:
        row = np.ravel_multi_index(tuple(genomes[:, : len(shared)].T), shared)
        total, slot = every[row, 0, 0, slots].copy(), 0
        for stage, depth_gene, blocks in stages:
            depth = np.asarray(stage.depth)[genomes[:, depth_gene]]
            for position, (kernel, expand) in enumerate(blocks):
                total += (position < depth) * every[row, genomes[:, kernel], genomes[:, expand], slot]
                slot += 1
        return total

    return sums


def translate(source: SearchSpace, target: SearchSpace) -> Callable[[np.ndarray], np.ndarray]:
    """Function from genomes (n, genes) of `source`, a part of `target`, to those that `target.to_genome` writes."""
    shared = [(source.resolution, target.resolution), *zip(source.width_choices, target.width_choices, strict=True)]
    stages = list(_stage_genes(source))
    # Of each gene of `source`: where it goes, and what its choices become there.
    columns, choices = list(range(len(shared))), list(shared)
    for (old, _, blocks), (new, depth_gene, _) in zip(stages, _stage_genes(target), strict=True):
        columns += range(depth_gene, depth_gene + 1 + 2 * len(blocks))
        choices += [(old.depth, new.depth), *[(old.kernel, new.kernel), (old.expand, new.expand)] * len(blocks)]
    first = np.cumsum([0, *(len(old) for old, _ in choices)])[:-1]
    table = np.concatenate([_positions(old, new) for old, new in choices])

    def turn(genomes: np.ndarray) -> np.ndarray:
        if source.coupled:
            genomes = genomes.copy()
            for stage, depth_gene, blocks in stages:
                expands = genomes[:, blocks[0][1]]
                if len(stage.depth) > 1:
                    expands = genomes[:, depth_gene] * (len(stage.expand) - 1) // (len(stage.depth) - 1)
                genomes[:, [expand for _, expand in blocks]] = expands[:, None]
        result = np.zeros((len(genomes), len(target.genes)), np.int64)
        result[:, columns] = table.take(genomes + first) * _active(source, genomes)
        return result

    return turn


def _positions(old: list, new: list) -> np.ndarray:
    return np.array([new.index(choice) for choice in old])
