from random import Random

import numpy as np
import pytest

from benchmarks.public_finder import POPULATION, PublicFinder, arch_of
from benchmarks.search import CLASSES, Task
from dεps.search.predictor import predict
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes


@pytest.fixture(scope="module")
def task() -> Task:
    return Task("mbv3_micro")


def test_it_counts_and_predicts_as_we_do(task):
    macs_of, accuracy = task.finder
    finder = PublicFinder(task.space, macs_of, accuracy, 1e9, 0)
    choices = [finder._drawn()[0] for _ in range(50)]
    archs = [arch_of(task.space, choice) for choice in choices]
    assert len(set(archs)) > 40
    macs = [arch_cost(task.space, arch, CLASSES).macs for arch in archs]
    np.testing.assert_allclose([1e6 * macs_of(choice) for choice in choices], macs, rtol=1e-12)
    genomes = np.array([task.space.to_genome(arch) for arch in archs])
    ours = predict(task.model, encode_genomes(task.space, genomes))
    np.testing.assert_allclose(accuracy(choices)[:, 0], ours, atol=1e-5)


def test_it_finds_good_archs_within_the_limit(task):
    limit = float(task.limits[4]) / 1e6
    score, choice, macs = PublicFinder(task.space, *task.finder, limit, 0).run(20)
    arch = arch_of(task.space, choice)
    assert arch in task.space
    assert arch_cost(task.space, arch, CLASSES).macs == pytest.approx(1e6 * macs)
    assert macs <= limit
    first, *_ = PublicFinder(task.space, *task.finder, limit, 0).run(0)
    assert score > first


def test_a_child_is_made_of_its_parents(task):
    finder = PublicFinder(task.space, *task.finder, 1e9, 0)
    (mother, _), (father, _) = finder._drawn(), finder._drawn()
    before = {name: list(values) for name, values in mother.items()}
    child, _ = finder._crossed(mother, father)
    for name, values in child.items():
        assert all(value in pair for value, *pair in zip(values, mother[name], father[name], strict=True))
    mutants = [finder._mutant(mother)[0] for _ in range(200)]
    assert mother == before  # children are copies
    changed = np.mean([a != b for mutant in mutants for a, b in zip(mutant["k"], mother["k"], strict=True)])
    kernels = len(task.space.stages[0].kernel)
    assert changed == pytest.approx(0.1 * (1 - 1 / kernels), abs=0.02)


def test_the_limits_are_met_by_random_archs(task):
    rng = Random(1)
    macs = [arch_cost(task.space, task.space.sample(rng), CLASSES).macs for _ in range(2 * POPULATION)]
    assert min(macs) < task.limits[0] * 1.2
    assert task.limits[-1] == arch_cost(task.space, task.space.largest(), CLASSES).macs
