import itertools

import numpy as np
import pytest

from dεps.cost import macs_counter
from dεps.genomes import encode_genomes, macs_of_genomes
from dεps.search import SearchConfig, search, spread


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


def test_spread_keeps_both_ends(found):
    chosen = spread(found, 4)
    assert len(chosen) <= 4
    assert (chosen[0], chosen[-1]) == (found[0], found[-1])
    assert spread(found, 10_000) == found
