"""Draws random archs of all sizes, which the report shows and the predictor learns from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Annotated, Any

from pydantic import Field

from dεps.core.schema import checked
from dεps.spaces.space import Arch, SearchSpace


@checked
class PopulationConfig:
    """Random archs per MAC bucket (RSS, arXiv 2204.09210)."""

    #: equal ranges of MACs between the smallest and the largest arch
    buckets: Annotated[int, Field(ge=1, le=1000)] = 5
    #: archs in each
    per_bucket: Annotated[int, Field(ge=1, le=100_000)] = 100


#: largest `tilt`, at which the last choice of several is e⁶ times as likely as the first; its negative does the reverse
STEEPEST = 6.0


class _TiltedRandom(Random):
    """Chooses from ascending values, the larger ones more often the larger `tilt` is."""

    tilt = 0.0

    def choice(self, values: Sequence[Any]) -> Any:
        last = max(1, len(values) - 1)
        return self.choices(values, [math.exp(self.tilt * place / last) for place in range(len(values))])[0]


def sample_population(
    space: SearchSpace,
    macs_of: Callable[[Arch], int],
    config: PopulationConfig,
    rng: Random,
    choices: SearchSpace | None = None,
) -> list[tuple[int, Arch]]:
    """Distinct random archs, `per_bucket` in each of `buckets` equal ranges of MACs, as pairs (bucket, arch).

    Uniform sampling hardly ever reaches the ends of the range. So the lowest bucket draws only the smallest expand
    ratio and the highest only the largest, with any depth and kernel, as RSS does. A bucket that is then still not full
    (in the papers' spaces the one below the highest) is filled from draws that favour larger or smaller choices. One
    that holds fewer distinct archs than asked for stays smaller.

    Args:
        space: the space whose range of MACs the buckets divide.
        macs_of: MACs of an arch.
        config: number and size of the buckets.
        rng: decides which archs are drawn.
        choices: part of the space that archs are drawn from; default: all of it.
    """
    choices = choices or space
    low, high = macs_of(space.smallest()), macs_of(space.largest())
    by_bucket: list[dict[Arch, None]] = [{} for _ in range(config.buckets)]
    sources = [choices] * config.buckets
    if config.buckets > 1 and not choices.coupled:
        sources[0], sources[-1] = (
            replace(choices, stages=[replace(stage, expand=stage.expand[end]) for stage in choices.stages])
            for end in (slice(1), slice(-1, None))
        )
    tilted, draws = _TiltedRandom(rng.getrandbits(64)), 200 * config.per_bucket
    for bucket, source in enumerate(sources):
        for draw in range(2 * draws):
            if len(by_bucket[bucket]) == config.per_bucket:
                break
            tilted.tilt = tilted.uniform(-STEEPEST, STEEPEST)
            arch = source.sample(rng if draw < draws else tilted)
            position = (macs_of(arch) - low) * config.buckets / max(1, high - low)
            if min(int(position), config.buckets - 1) == bucket:
                by_bucket[bucket][arch] = None
    return [(bucket, arch) for bucket, archs in enumerate(by_bucket) for arch in archs]
