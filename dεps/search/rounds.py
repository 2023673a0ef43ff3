"""Searches in rounds: measures what a search proposes, refits the predictor to it, and searches again.

This is LINAS (DyNAS-T, arXiv 2205.10358): a predictor is least sure where archs are unusually good, which is where a
search goes, so its own proposals are the archs worth measuring. One round is a plain search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dεps.core.errors import UserError
from dεps.core.randomness import derive
from dεps.search.nsga2 import Judge, SearchConfig, search, spread
from dεps.search.predictor import PredictConfig, Predictor, fit, predict
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes, macs_of_genomes, params_of_genomes, translate
from dεps.spaces.space import Arch, SearchSpace


class Found(NamedTuple):
    """An arch that a search in rounds has proposed. Accuracies are shares of the images, in [0, 1]."""

    arch: Arch
    macs: int
    params: int
    #: by the predictor of the last round
    predicted: float
    #: on validation; None where it was not measured
    measured: float | None
    #: in which it was measured, from 1 on
    round: int | None
    #: whether the last round's search has it on its front of accuracy over MACs; others were measured in an earlier
    #: one, or are of a search by latency
    on_front: bool
    #: milliseconds by the latency table; None without one
    ms: float | None = None
    #: whether the last round's search has it on its front of accuracy over milliseconds
    on_latency_front: bool = False


#: top-1 on validation in [0, 1] of each of some archs
Measure = Callable[[Sequence[Arch]], Sequence[float]]


def search_in_rounds(
    choices: SearchSpace,
    space: SearchSpace,
    model: Predictor,
    learnt: Mapping[Arch, float],
    measure: Measure,
    config: SearchConfig,
    predictor: PredictConfig,
    *,
    classes: int,
    channels: int,
    seed: int,
    latency_of: Judge | None = None,
) -> list[Found]:
    """The last round's fronts and every arch that was measured, by ascending MACs.

    Each of `config.rounds` rounds measures up to `config.measured` archs of its front that no earlier round has, and
    the next begins with the predictor fitted to these too. It ends early where a front has nothing new.

    Args:
        choices: what a method has trained, a part of `space`.
        model: the first round's predictor, of archs of `space`.
        learnt: accuracies on validation in [0, 1] that it was fitted to; later rounds add theirs.
        latency_of: milliseconds (n,) of genomes of `space`. With it each round has a second front, of accuracy over
            milliseconds, of which as many archs are measured beside the others. The first front is searched alike.

    Raises `UserError` where no arch has as few parameters as `config.max_params`.
    """
    whole = translate(choices, space)
    macs_of, within = (
        macs_of_genomes(space, classes, channels),
        allowed(choices, space, classes, channels, config.max_params),
    )
    judges = {"search": macs_of} | ({} if latency_of is None else {"search/latency": latency_of})
    measured, rounds = dict[Arch, float](), dict[Arch, int]()
    fronts = dict[str, list[tuple[Arch, float, float]]]()
    for number in range(1, config.rounds + 1):
        if number > 1:
            model = _refitted(model, space, {**learnt, **measured}, predictor, seed)
        new = dict[Arch, None]()
        for name, judge in judges.items():
            front = fronts[name] = search(
                choices,
                lambda genomes, model=model: predict(model, encode_genomes(space, whole(genomes))),
                lambda genomes, judge=judge: judge(whole(genomes)),
                config,
                derive(seed, name, *([number] if number > 1 else [])) % 2**31,
                within,
            )
            left = [one for one in front if one[0] not in measured and one[0] not in new]
            new |= dict.fromkeys(arch for arch, _, _ in spread(left, config.measured))
        if not new:
            break
        measured |= zip(new, measure([*new]), strict=True)
        rounds |= dict.fromkeys(new, number)
    predicted = {arch: score for front in fronts.values() for arch, score, _ in front}
    if others := [arch for arch in measured if arch not in predicted]:
        codes = encode_genomes(space, np.array([space.to_genome(arch) for arch in others]))
        predicted |= zip(others, predict(model, codes).tolist(), strict=True)
    costs = {arch: arch_cost(space, arch, classes, channels) for arch in predicted}
    ms = _milliseconds(latency_of, space, predicted)
    of_macs, of_ms = ({arch for arch, _, _ in fronts.get(name, [])} for name in ("search", "search/latency"))
    return [
        Found(
            arch,
            *costs[arch],
            predicted[arch],
            measured.get(arch),
            rounds.get(arch),
            arch in of_macs,
            ms.get(arch),
            arch in of_ms,
        )
        for arch in sorted(predicted, key=lambda arch: (costs[arch].macs, predicted[arch]))
    ]


def _milliseconds(latency_of: Judge | None, space: SearchSpace, archs: Iterable[Arch]) -> dict[Arch, float]:
    """By arch, empty without `latency_of`."""
    if latency_of is None:
        return {}
    archs = list(archs)
    return dict(zip(archs, latency_of(np.array([space.to_genome(arch) for arch in archs])).tolist(), strict=True))


def _refitted(
    model: Predictor, space: SearchSpace, known: Mapping[Arch, float], config: PredictConfig, seed: int
) -> Predictor:
    codes = encode_genomes(space, np.array([space.to_genome(arch) for arch in known]))
    return fit(model.kind, codes, np.array([*known.values()]), config, seed)


def allowed(
    choices: SearchSpace, space: SearchSpace, classes: int, channels: int, max_params: int | None
) -> Judge | None:
    """Which genomes of `choices`, a part of `space`, have at most so many parameters; None where there is no limit.

    Raises `UserError` where not even the smallest arch has.
    """
    if max_params is None:
        return None
    least = arch_cost(space, choices.smallest(), classes, channels).params
    if max_params < least:
        raise UserError(f"search.max_params is {max_params:,}; expected at least {least:,}, what the smallest arch has")
    whole, params_of = translate(choices, space), params_of_genomes(space, classes, channels)
    return lambda genomes: params_of(whole(genomes)) <= max_params
