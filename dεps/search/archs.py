"""Finds the best archs of a trained supernet in one call, as the stages evaluate, predict and search do on files."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dεps.core.errors import UserError
from dεps.core.randomness import python_rng
from dεps.data.splits import PreparedData
from dεps.evaluation.accuracy import Recalibration, accuracies, named_archs
from dεps.evaluation.population import PopulationConfig, sample_population
from dεps.nets.supernet import Supernet
from dεps.search.crossvalidation import cross_validate
from dεps.search.latency.table import given_table, latency_of_archs
from dεps.search.nsga2 import SearchConfig
from dεps.search.predictor import PredictConfig, fit
from dεps.search.rounds import search_in_rounds
from dεps.spaces.cost import macs_counter
from dεps.spaces.encoding import encode_genomes
from dεps.spaces.space import Arch

BUCKETS = 5


class FoundArch(NamedTuple):
    """One arch of the front. Accuracies are top-1 on validation in percent."""

    arch: Arch
    macs: int
    params: int
    predicted_top1: float
    top1: float


def search_archs(
    net: Supernet,
    data: PreparedData,
    *,
    population: int = 100,
    count: int = 8,
    seed: int = 0,
    images: Recalibration | None = None,
    predictor: PredictConfig | None = None,
    config: SearchConfig | None = None,
) -> list[FoundArch]:
    """Archs that trade accuracy on validation against MACs, by ascending MACs, each measured.

    About `population` random archs over the whole range of MACs, and the named ones, are measured on validation. The
    predictor that orders them best in cross-validation is fitted to them and scores what NSGA-II proposes
    (`dεps.search.nsga2`); of the front that it finds, `count` archs, both ends among them, are measured in turn. With
    `config.rounds` the predictor then learns from these too, and the search goes on (`dεps.search.rounds`).

    Args:
        net: a trained supernet; archs are from `net.choices`, what its method has trained.
        data: its validation split decides; test data is not read.
        population: number of random archs to learn from.
        count: largest number of archs to measure in each round, and so to return of it.
        seed: decides the population, the folds and the search.
        images: training images for BN, as in `accuracies`.
        predictor: default: the two quick candidates, ridge and Gaussian process.
        config: of the search; `count` takes the place of its `measured`, and with a latency table there are as many
            archs again of the front by latency.

    Raises `UserError` where too few archs can be measured for the folds of the cross-validation, or naming a latency
    table that is wrong.
    """
    predictor = predictor or PredictConfig(candidates=["ridge", "gaussian_process"])
    space, classes, config = net.space, net.classes, config or SearchConfig()
    table = given_table(config, space, classes, net.channels)
    if space.coupled:
        raise UserError(f"the space {space.name} is coupled; search needs one whose net.choices alone are")
    buckets = PopulationConfig(buckets=BUCKETS, per_bucket=max(1, population // BUCKETS))
    macs_of = macs_counter(space, classes, net.channels)
    drawn = sample_population(space, macs_of, buckets, python_rng(seed, "population"), net.choices)
    archs = list(dict.fromkeys([*named_archs(net.choices).values(), *(arch for _, arch in drawn)]))
    if len(archs) < 2 * predictor.folds:
        raise UserError(f"population is {population}; expected {2 * predictor.folds} or more, for 2 archs a fold")
    measured = np.array([top1 for (top1,) in accuracies(net, archs, data, [data.validation], images)])
    codes = encode_genomes(space, np.array([space.to_genome(arch) for arch in archs]))
    chosen = cross_validate(codes, measured / 100, predictor, seed).chosen
    found = search_in_rounds(
        net.choices,
        space,
        fit(chosen, codes, measured / 100, predictor, seed),
        dict(zip(archs, measured / 100, strict=True)),
        lambda some: [top1 / 100 for (top1,) in accuracies(net, some, data, [data.validation], images)],
        replace(config, measured=count),
        predictor,
        classes=classes,
        channels=net.channels,
        seed=seed,
        latency_of=table and latency_of_archs(table, space, classes, net.channels),
    )
    return [
        FoundArch(one.arch, one.macs, one.params, round(100 * one.predicted, 4), round(100 * one.measured, 4))
        for one in found
        if one.measured is not None
    ]
