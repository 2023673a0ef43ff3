from random import Random

import numpy as np
import pytest

from dεps.core.errors import UserError
from dεps.core.randomness import derive
from dεps.search.latency.table import latency_of_archs
from dεps.search.nsga2 import SearchConfig, search, spread
from dεps.search.predictor import PredictConfig, fit, predict
from dεps.search.rounds import search_in_rounds
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes, macs_of_genomes
from tests.tools.latency import latency_table

PREDICTOR = PredictConfig(candidates=["ridge"])


def codes_of(space, archs):
    return encode_genomes(space, np.array([space.to_genome(arch) for arch in archs]))


@pytest.fixture
def truth(micro):
    """Accuracy that is not linear in the features, which the ridge regression assumes; remembers what it was asked."""
    weights = np.random.default_rng(0).random(encode_genomes(micro, np.zeros((1, len(micro.genes)), int)).shape[1])
    asked = []

    def measure(archs):
        asked.append(list(archs))
        return (np.tanh(codes_of(micro, archs) @ weights / 8) * 0.9).tolist()

    measure.asked = asked  # pyright: ignore[reportFunctionMemberAccess]
    return measure


@pytest.fixture
def learnt(micro, truth):
    archs = [micro.sample(Random(seed)) for seed in range(20)]
    known = dict(zip(archs, truth(archs), strict=True))
    truth.asked.clear()
    return known


def run(micro, truth, learnt, choices=None, seed=3, latency_of=None, **options):
    model = fit("ridge", codes_of(micro, learnt), np.array([*learnt.values()]), PREDICTOR, seed)
    config = SearchConfig(population=30, generations=10, **options)
    own = {"classes": 10, "channels": 1, "seed": seed, "latency_of": latency_of}
    return search_in_rounds(choices or micro, micro, model, learnt, truth, config, PREDICTOR, **own)


def test_one_round_is_a_search_whose_spread_is_measured(micro, truth, learnt):
    found = run(micro, truth, learnt, measured=4)
    model = fit("ridge", codes_of(micro, learnt), np.array([*learnt.values()]), PREDICTOR, 3)
    config = SearchConfig(population=30, generations=10)
    front = search(
        micro,
        lambda genomes: predict(model, encode_genomes(micro, genomes)),
        macs_of_genomes(micro, 10, 1),
        config,
        derive(3, "search") % 2**31,
    )
    assert [(one.arch, one.predicted, one.macs) for one in found] == front
    assert [one.arch for one in found if one.measured is not None] == [arch for arch, _, _ in spread(front, 4)]
    assert {one.round for one in found} == {1, None}
    assert all(one.on_front for one in found)
    assert all(arch_cost(micro, one.arch, 10, 1) == (one.macs, one.params) for one in found)


def test_each_round_measures_what_no_other_has_and_learns_from_all(micro, truth, learnt):
    found = run(micro, truth, learnt, measured=4, rounds=3)
    assert [len(set(archs)) for archs in truth.asked] == [4, 4, 4]
    measured = {one.arch: one for one in found if one.measured is not None}
    assert len(measured) == 12
    for number, archs in enumerate(truth.asked, 1):
        assert {measured[arch].round for arch in archs} == {number}
    before = {**learnt, **{arch: one.measured for arch, one in measured.items() if one.round in (1, 2)}}
    order = [*learnt, *(arch for archs in truth.asked[:2] for arch in archs if arch not in learnt)]
    last = fit("ridge", codes_of(micro, order), np.array([before[arch] for arch in order]), PREDICTOR, 3)
    expected = predict(last, codes_of(micro, [one.arch for one in found]))
    assert [one.predicted for one in found] == pytest.approx(expected.tolist(), abs=1e-12)
    assert [one.macs for one in found] == sorted(one.macs for one in found)
    assert not all(one.on_front for one in found)


def test_it_ends_when_the_front_has_nothing_new(micro, truth, learnt):
    single = micro.restrict(kernel=[7]).top(depth=1, expand=1)
    found = run(micro, truth, learnt, choices=single, measured=50, rounds=5)
    assert len(truth.asked) == 1
    assert all(one.round == 1 for one in found)


def test_a_limit_on_parameters(micro, truth, learnt):
    whole = run(micro, truth, learnt)
    most, least = (arch_cost(micro, arch, 10, 1).params for arch in (micro.largest(), micro.smallest()))
    assert run(micro, truth, learnt, max_params=most) == whole
    limit = (most + least) // 3
    assert max(one.params for one in whole) > limit
    found = run(micro, truth, learnt, max_params=limit)
    assert len(found) > 3
    assert max(one.params for one in found) <= limit
    assert [one.arch for one in run(micro, truth, learnt, max_params=least)] == [micro.smallest()]
    message = rf"^search\.max_params is {least - 1:,}; expected at least {least:,}, what the smallest arch has$"
    with pytest.raises(UserError, match=message):
        run(micro, truth, learnt, max_params=least - 1)


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_latency_table_has_a_front_of_its_own_beside_that_of_macs(micro, truth, learnt, rounds):
    latency_of = latency_of_archs(latency_table(micro), micro, 10, 1)
    found = run(micro, truth, learnt, measured=4, rounds=rounds, latency_of=latency_of)
    genomes = np.array([micro.to_genome(one.arch) for one in found])
    assert [one.ms for one in found] == latency_of(genomes).tolist()
    fronts = {key: [one for one in found if getattr(one, key)] for key in ("on_front", "on_latency_front")}
    for cost, front in zip(("macs", "ms"), fronts.values(), strict=True):
        front.sort(key=lambda one: getattr(one, cost))
        accuracies = [one.predicted for one in front]
        assert accuracies == sorted(set(accuracies))  # each costs more and is better than the one before
    assert {one.arch for one in fronts["on_front"]} != {one.arch for one in fronts["on_latency_front"]}
    asked = [archs for archs in truth.asked if archs]
    assert len(asked) == rounds
    assert all(len(set(archs)) == 8 for archs in asked)
    assert len({arch for archs in asked for arch in archs}) == 8 * rounds
    if rounds == 1:  # the search by MACs is what it is without a table
        alone = run(micro, truth, learnt, measured=4)
        assert [one.arch for one in alone] == [one.arch for one in found if one.on_front]
