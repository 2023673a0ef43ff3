from random import Random

import pytest

from dεps.evaluation.population import PopulationConfig, sample_population
from dεps.spaces.cost import macs_counter
from tests.conftest import load_space


def test_population_fills_its_buckets(micro):
    macs_of = macs_counter(micro, 10, 1)
    config = PopulationConfig(buckets=4, per_bucket=5)
    population = sample_population(micro, macs_of, config, Random(0))
    low, high = macs_of(micro.smallest()), macs_of(micro.largest())
    assert len({arch for _, arch in population}) == 20
    for bucket, arch in population:
        assert bucket == min(int((macs_of(arch) - low) * 4 / (high - low)), 3)
    expands = {block.expand for bucket, arch in population if bucket == 0 for stage in arch.stages for block in stage}
    assert expands == {2}
    assert population == sample_population(micro, macs_of, config, Random(0))


def test_the_lowest_bucket_of_a_part_has_its_smallest_ratio(micro):
    macs_of, part = macs_counter(micro, 10, 1), micro.restrict(expand=[3, 4])
    population = sample_population(micro, macs_of, PopulationConfig(buckets=4, per_bucket=10), Random(0), part)
    ratios = [{block.expand for stage in arch.stages for block in stage} for bucket, arch in population if bucket == 0]
    assert set().union(*ratios) == {3}
    assert len(ratios) == 10


@pytest.mark.parametrize("name", ["mbv3_32", "mbv3_224_elastic", "proxyless_224"])
def test_the_papers_spaces_fill_all_buckets(name):
    space = load_space(name)
    macs_of = macs_counter(space, 100)
    population = sample_population(space, macs_of, PopulationConfig(buckets=6, per_bucket=20), Random(0))
    assert [number for number, _ in population] == [number for number in range(6) for _ in range(20)]
    assert len({arch for _, arch in population}) == 120
    low, high = macs_of(space.smallest()), macs_of(space.largest())
    for bucket, arch in population:
        assert bucket == min(int((macs_of(arch) - low) * 6 / (high - low)), 5)
        assert arch in space
