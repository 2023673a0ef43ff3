from random import Random

import numpy as np
import pytest

from dεps.spaces.cost import arch_cost, macs_counter
from dεps.spaces.encoding import encode_genomes, macs_of_genomes, params_of_genomes, translate
from dεps.spaces.space import SearchSpace
from tests.conftest import SPACES
from tests.tools.spaces import PLAIN


def drawn(space: SearchSpace, count: int = 60) -> list:
    archs = [space.largest(), space.smallest(), *(space.sample(Random(seed)) for seed in range(count))]
    # every resolution, whatever the draws say
    return [arch.at(size) for arch in archs for size in (space.resolution[0], space.resolution[-1])]


def genomes_of(space: SearchSpace, archs: list) -> np.ndarray:
    return np.array([space.to_genome(arch) for arch in archs])


def one_hot(choices: list, chosen: object) -> list[float]:
    return [float(choice == chosen) for choice in choices]


@pytest.mark.parametrize("space", [*SPACES, PLAIN], indirect=True)
def test_an_encoding_is_one_hot_by_block_with_zeros_for_inactive_ones(space):
    archs = drawn(space)
    codes = encode_genomes(space, genomes_of(space, archs))
    for arch, code in zip(archs, codes.tolist(), strict=True):
        expected = []
        for stage, blocks in zip(space.stages, arch.stages, strict=True):
            for block in blocks:
                expected += one_hot(stage.kernel, block.kernel) + one_hot(stage.expand, block.expand)
            expected += [0.0] * (stage.depth[-1] - len(blocks)) * (len(stage.kernel) + len(stage.expand))
        for choices, width in zip(space.width_choices, arch.widths, strict=True):
            expected += one_hot(choices, width)
        assert code == expected + one_hot(space.resolution, arch.resolution)


def test_different_archs_have_different_encodings_with_a_place_for_each_choice(micro):
    archs = list({micro.sample(Random(seed)) for seed in range(300)})
    codes = encode_genomes(micro, genomes_of(micro, archs))
    assert codes.shape == (len(archs), 9 * (2 + 3) + 1)
    assert len({*map(tuple, codes.tolist())}) == len(archs)


@pytest.mark.parametrize("space", [*SPACES, PLAIN], indirect=True)
def test_macs_of_many_are_the_macs_of_each(space):
    archs = drawn(space)
    macs, macs_of = macs_of_genomes(space, 100)(genomes_of(space, archs)), macs_counter(space, 100)
    assert macs.tolist() == [macs_of(arch) for arch in archs]


@pytest.mark.parametrize("space", [*SPACES, PLAIN], indirect=True)
def test_parameters_of_many_are_those_of_each(space):
    archs = drawn(space)
    params = params_of_genomes(space, 100)(genomes_of(space, archs))
    assert params.tolist() == [arch_cost(space, arch, 100).params for arch in archs]


def test_genes_of_inactive_blocks_cost_nothing(micro):
    genomes = np.random.default_rng(0).integers(0, np.array(micro.genes), (200, len(micro.genes)))
    macs, macs_of = macs_of_genomes(micro, 10, 1)(genomes), macs_counter(micro, 10, 1)
    assert macs.tolist() == [macs_of(micro.from_genome(genome)) for genome in genomes.tolist()]


def test_a_coupled_space_has_to_be_translated_first(micro):
    coupled = micro.couple([stage.kernel[0] for stage in micro.stages])
    with pytest.raises(ValueError, match="coupled"):
        macs_of_genomes(coupled, 10)


@pytest.mark.parametrize("space", [*SPACES, PLAIN], indirect=True)
def test_translation_keeps_the_arch(space):
    parts = [space, space.restrict(expand=[space.stages[-1].expand[-1]]), space.top(depth=1)]
    if all(len(stage.depth) == len(stage.expand) for stage in space.stages):
        parts.append(space.couple([stage.kernel[-1] for stage in space.stages]))
    for part in parts:
        genes = np.array(part.genes)
        genomes = np.random.default_rng(0).integers(0, genes, (50, len(genes)))
        archs = [part.from_genome(genome) for genome in genomes.tolist()]
        assert translate(part, space)(genomes).tolist() == [list(space.to_genome(arch)) for arch in archs]
