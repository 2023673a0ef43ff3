import itertools

import numpy as np
import pytest

from dεps.search.nsga2 import SearchConfig, _Candidates, search, spread
from dεps.spaces.cost import macs_counter
from dεps.spaces.encoding import encode_genomes, macs_of_genomes


@pytest.fixture(scope="module")
def found(micro):
    """A front of a score that counts active blocks, whatever they are: two features each."""

    def score(genomes: np.ndarray) -> np.ndarray:
        return encode_genomes(micro, genomes)[:, :-1].sum(1)

    return search(micro, score, macs_of_genomes(micro, 10, 1), SearchConfig(population=40, generations=40), seed=0)


def test_the_front_is_one(micro, found):
    macs = [item[2] for item in found]
    scores = [item[1] for item in found]
    assert all(arch in micro for arch, _, _ in found)
    assert macs == sorted(macs)
    assert all(a < b for a, b in itertools.pairwise(scores))


def test_search_reaches_towards_both_ends(micro, found):
    macs_of = macs_counter(micro, 10, 1)
    assert found[0][2] < 1.2 * macs_of(micro.smallest())
    assert found[-1][1] >= 18  # every block active: a kernel and an expand each


def tiny_space(micro):
    """Few enough archs to look at all."""
    return micro.restrict(kernel=[7]).top(depth=2, expand=2)


def test_it_finds_the_front_of_a_small_space(micro):
    space = tiny_space(micro)
    everything = np.array(list(itertools.product(*map(range, space.genes))))[::7]
    macs_of = macs_of_genomes(space, 10, 1)
    weights = np.random.default_rng(0).random(encode_genomes(space, everything).shape[1])

    def score(genomes: np.ndarray) -> np.ndarray:
        return encode_genomes(space, genomes) @ weights

    found = search(space, score, macs_of, SearchConfig(population=60, generations=80), seed=0)
    cost, value = np.array([item[2] for item in found]), np.array([item[1] for item in found])
    beaten = [
        not ((cost <= macs) & (value >= own - 1e-9)).any()
        for macs, own in zip(macs_of(everything), score(everything), strict=True)
    ]
    assert np.mean(beaten) < 0.002  # hardly any arch of the space lies above the front that was found


def test_the_seed_decides_all(micro):
    macs_of, config = macs_of_genomes(micro, 10, 1), SearchConfig(population=20, generations=5)
    a, b, c = (search(micro, lambda genomes: genomes.sum(1), macs_of, config, seed) for seed in (0, 0, 1))
    assert a == b
    assert a != c


def test_no_arch_is_judged_twice(micro):
    judged = []

    def score(genomes: np.ndarray) -> np.ndarray:
        judged.extend(micro.from_genome(genome) for genome in genomes.tolist())
        return genomes.sum(1)

    search(micro, score, macs_of_genomes(micro, 10, 1), SearchConfig(population=30, generations=10), seed=0)
    assert len(judged) == len(set(judged)) > 200


def test_a_space_smaller_than_the_population_is_searched_to_its_end(micro):
    space = micro.restrict(depth=[2], kernel=[3], expand=[2])
    found = search(space, lambda g: g.sum(1), macs_of_genomes(space, 10, 1), SearchConfig(8, 5), seed=0)
    assert [arch for arch, _, _ in found] == [space.largest()]


def test_ranks_and_crowding_by_hand():
    macs, scores = np.array([1, 2, 3, 2, 3, 1]), np.array([1.0, 3.0, 4.0, 2.0, 2.0, 1.0])
    candidates = _Candidates(np.zeros((6, 1)), scores, macs)
    ranks = candidates.ranks(6)
    assert ranks.tolist() == [0, 0, 0, 1, 2, 1]
    crowding = candidates.crowding(ranks)
    assert crowding[1] == (3 - 1) / 2 + (4 - 1) / 3
    assert np.isinf(crowding[[0, 2, 3, 4, 5]]).all()
    assert candidates.front().scores.tolist() == [1.0, 3.0, 4.0]
    assert candidates.order(3).tolist() in ([0, 2, 1], [2, 0, 1])


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_what_the_definition_says(seed):
    """Against a sequence of fronts found by comparing all pairs, with many equal scores and costs."""
    rng = np.random.default_rng(seed)
    costs, scores = rng.integers(0, 12, 80), rng.integers(0, 12, 80).astype(float)
    expected, left = np.full(80, -1), list(np.lexsort((-scores, costs)))
    while left:
        front = [
            one
            for place, one in enumerate(left)
            if not any(scores[other] >= scores[one] and costs[other] <= costs[one] for other in left[:place])
        ]
        expected[front] = expected.max() + 1
        left = [one for one in left if one not in front]
    candidates = _Candidates(np.zeros((80, 1), int), scores, costs)
    assert candidates.ranks(80).tolist() == expected.tolist()
    assert candidates.ranks(1000).tolist() == expected.tolist()
    some = candidates.ranks(30)
    ranked = some < 80
    assert ranked.sum() >= 30
    assert some[ranked].tolist() == expected[ranked].tolist()
    assert expected[~ranked].min() == expected[ranked].max() + 1  # whole ranks, the rest behind
    assert candidates.order(30).tolist() == candidates.order(80)[:30].tolist()


def test_spread_keeps_both_ends(found):
    chosen = spread(found, 4)
    assert len(chosen) <= 4
    assert (chosen[0], chosen[-1]) == (found[0], found[-1])
    assert spread(found, 10_000) == found


def test_costs_may_be_milliseconds(micro):
    macs_of, config = macs_of_genomes(micro, 10, 1), SearchConfig(population=20, generations=5)
    by_macs = search(micro, lambda genomes: genomes.sum(1), macs_of, config, 0)
    by_time = search(micro, lambda genomes: genomes.sum(1), lambda genomes: macs_of(genomes) / 2**20, config, 0)
    assert [(arch, score, cost * 2**20) for arch, score, cost in by_time] == by_macs
