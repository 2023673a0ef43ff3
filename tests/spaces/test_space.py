from dataclasses import replace
from random import Random

import pytest

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.evaluation.accuracy import named_archs
from dεps.nets.mobilenet.geometry import middle_width, squeeze_width
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace, make_divisible
from tests.conftest import SPACES, load_space
from tests.tools.spaces import PLAIN


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 8), (11.9, 16), (12, 16), (24, 24), (68, 72), (67.9, 64), (72, 72), (90, 88), (100, 104)],
)
def test_make_divisible_rounds_to_multiples_of_eight(value, expected):
    assert make_divisible(value) == expected


def test_make_divisible_never_loses_a_tenth():
    assert all(make_divisible(v) >= 0.9 * v for v in range(1, 500))


def test_widths_of_a_middle_and_its_squeeze():
    assert middle_width(24, 3) == 72
    assert squeeze_width(72) == 24  # 18 rounds to 16, which is less than 0.9 * 18


def test_micro_has_more_than_a_million_archs(micro):
    # Per stage: 1, 2 or 3 blocks with 2 kernels and 3 expand ratios each.
    assert micro.size() == (6 + 6**2 + 6**3) ** 3


def test_largest_and_smallest(micro):
    assert str(micro.largest()) == "_".join(["k5e4-k5e4-k5e4"] * 3 + ["r28"])
    assert str(micro.smallest()) == "k3e2_k3e2_k3e2_r28"


@pytest.mark.parametrize("space", ["mbv3_224", "mbv3_64", "mbv3_32", "proxyless_224"])
def test_pareto_archs_of_the_paper(space):
    names = list(load_space(space).pareto_archs())
    assert names == ["D2E3K7", "D3E3K7", "D4E3K7", "D4E4K7", "D3E6K7", "D4E6K7"]


def test_samples_belong_to_the_space_and_cover_its_choices(micro):
    archs = [micro.sample(Random(seed)) for seed in range(300)]
    assert all(arch in micro for arch in archs)
    assert {arch.depths[0] for arch in archs} == {1, 2, 3}
    assert {block.kernel for arch in archs for stage in arch.stages for block in stage} == {3, 5}
    assert {block.expand for arch in archs for stage in arch.stages for block in stage} == {2, 3, 4}


def test_sampling_depends_on_the_generator_only(micro):
    assert micro.sample(Random(5)) == micro.sample(Random(5))


@pytest.mark.parametrize(
    ("name", "part", "expected"),
    [
        ("mbv3_224", {"expand": [6]}, ["D2E6K7", "D3E6K7", "D4E6K7"]),
        ("mbv3_224", {"depth": [4], "kernel": [7]}, ["D4E3K7", "D4E4K7", "D4E6K7"]),
        ("mbv3_224", {"depth": [4], "expand": [6]}, ["D4E6K7"]),
        ("mbv3_224", {"expand": [4, 6]}, ["D2E4K7", "D3E4K7", "D4E4K7", "D3E6K7", "D4E6K7"]),
        ("proxyless_224", {"depth": [4]}, ["D4E3K7", "D4E4K7", "D4E6K7"]),
    ],
)
def test_points_of_a_part_have_the_names_of_the_whole_space(name, part, expected):
    whole = load_space(name)
    points = whole.restrict(**part).pareto_archs()
    assert list(points) == expected
    shared = whole.pareto_archs()
    assert all(points[one] == shared[one] for one in points.keys() & shared.keys())
    assert list(points.values())[-1] == points["D4E6K7"] == whole.largest()


@pytest.mark.parametrize("space", [*SPACES, PLAIN], indirect=True)
def test_genomes_and_names_are_faithful(space):
    for seed in range(50):
        arch = space.sample(Random(seed))
        assert arch in space
        assert space.from_genome(space.to_genome(arch)) == arch
        assert Arch.parse(str(arch)) == arch


@pytest.mark.parametrize("name", ["mbv3_32", "mbv3_224"])
def test_a_space_of_one_kernel_is_a_part_of_the_other(name):
    part, whole = load_space(f"{name}_k7"), load_space(name)
    assert (part.largest(), part.smallest()) == (whole.largest(), whole.restrict([2], [7], [3]).largest())
    for seed in range(50):
        arch = part.sample(Random(seed))
        assert arch in whole
        assert arch_cost(part, arch, 10) == arch_cost(whole, arch, 10)


def test_resnet_geometry():
    space = load_space("resnet50d_224")
    largest, smallest = space.largest(), space.smallest()
    assert space.stem_spec(largest) == (32, 64, True)
    assert space.stem_spec(smallest) == (24, 40, False)  # 0.65 × 64 = 41.6 → 40, halved and rounded up
    assert [sum(1 for b in space.blocks(arch) if b.projection) for arch in (largest, smallest)] == [4, 4]
    assert largest.depths == (1, 4, 4, 6, 4)
    assert smallest.depths == (0, 2, 2, 4, 2)
    assert [block.mid for block in space.blocks(largest)][:4] == [88] * 4  # md(256 × 0.35 = 89.6 → 90)
    assert [block.outputs for block in space.blocks(smallest)][::2] == [168, 336, 664, 664, 1328]
    # 3 widths in 6 places, a residual or none, and per stage 2 to 4 (4 to 6) blocks of 3 expand ratios
    assert space.size() == 3**6 * 2 * (3**2 + 3**3 + 3**4) ** 3 * (3**4 + 3**5 + 3**6)


def test_widths_open_with_the_expand_ratios():
    space = load_space("resnet50d_224")
    assert space.top(depth=1).width_choices == [[0.65, 0.8, 1.0]] * 6
    assert space.top(expand=1).width_choices == [[1.0]] * 6
    assert space.top(expand=2).width_choices == [[0.8, 1.0]] * 6


def test_restricting_leaves_the_allowed_choices(micro):
    narrow = micro.restrict(kernel=[5], depth=[2, 3])
    assert all(narrow.sample(Random(seed)) in micro for seed in range(20))
    assert narrow.smallest() == micro.restrict([2], [5], [2]).largest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k3",
        "None",
        "k3e2_28",
        "k3e2-_r28",
        "3e2_r28",
        "k3e2.0_r28",
        "k3e1e3_r28",
        "k03e2_r28",
        "k3e2_w_r28",
    ],
)
def test_no_arch_is_refused(text):
    with pytest.raises(UserError, match="is no arch"):
        Arch.parse(text)


def test_block_geometry_of_the_largest_micro_arch(micro):
    blocks = list(micro.blocks(micro.largest()))
    assert [block.place for block in blocks] == list(range(10))
    assert [block.stride for block in blocks] == [1, 2, 1, 1, 1, 1, 1, 2, 1, 1]
    assert [block.skip for block in blocks] == [True, False, True, True, False, True, True, False, True, True]
    assert [block.mid for block in blocks] == [8, 32, 64, 64, 64, 96, 96, 96, 160, 160]


def test_block_indices_skip_inactive_blocks(micro):
    assert [block.place for block in micro.blocks(micro.smallest())] == [0, 1, 4, 7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda space: space["stages"][0].update(expand=[6, 3]),
            r"space\.stages\[0\]\.expand is \[6, 3\]; expected ascending values$",
        ),
        (
            lambda space: space["stages"][1].update(depth=[]),
            r"space\.stages\[1\]\.depth is \[\]; expected a non-empty list of whole numbers$",
        ),
        (
            lambda space: space["stages"][1].update(kernel=[4]),
            r"space\.stages\[1\]\.kernel\[0\] is 4; allowed: 3, 5, 7$",
        ),
        (lambda space: space["stages"][2].update(act="gelu"), r"act is 'gelu'; allowed: relu, relu6, h_swish"),
        (
            lambda space: space.update(stages=[]),
            r"space\.stages is \[\]; expected a non-empty list of mappings with the keys width, stride",
        ),
        (
            lambda space: space.update(resolution=[32, 28]),
            r"space\.resolution is \[32, 28\]; expected ascending values$",
        ),
        (lambda space: space["static"].update(width=16), r"static.width to equal stem.width"),
        (lambda space: space["stages"][0].update(depth=[0, 1]), r"space\.stages\[0\]\.depth is \[0, 1\]; expected 1"),
        (lambda space: space.update(bn_eps=0.0), r"space\.bn_eps is 0\.0; expected above 0 up to 1$"),
        (lambda space: space.update(family="none"), r"space\.family is 'none'; allowed: (\w+, )*mobilenet, "),
    ],
)
def test_impossible_spaces_are_refused(micro, change, message):
    from dataclasses import asdict

    space = asdict(micro)
    change(space)
    with pytest.raises(UserError, match=message):
        structured(SearchSpace, space, "space")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda space: space.update(width_mult=[]),
            r"space\.width_mult is \[\]; expected a non-empty list of numbers$",
        ),
        (lambda space: space["stages"][0].update(depth=[1, 2]), r"space\.stages\[0\] must be the stem's residual"),
        (lambda space: space["stages"][2].update(kernel=[3, 5]), r"space\.stages\[2\]: a ResNet's blocks have"),
        (lambda space: space["stem"].update(width=0), r"space\.stem\.width is 0; expected 16 to 16,384$"),
    ],
)
def test_impossible_resnets_are_refused(change, message):
    from dataclasses import asdict

    space = asdict(load_space("resnet50d_224"))
    change(space)
    with pytest.raises(UserError, match=message):
        structured(SearchSpace, space, "space")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda space: space["stages"][0].update(depth=[0, 1]),
            r"space\.stages\[0\]\.depth is \[0, 1\]; expected 1 or",
        ),
        (lambda space: space["stages"][1].update(se=True), r"space\.stages\[1\]: basic blocks have act relu and no se"),
        (
            lambda space: space["stages"][1].update(expand=[0.5, 0.75, 1.0]),
            r"space\.stages\[1\]\.expand gives \[8, 16, 16\] channels; expected different numbers",
        ),
    ],
)
def test_impossible_nets_of_basic_blocks_are_refused(change, message):
    from dataclasses import asdict

    space = asdict(load_space("resnet_28"))
    change(space)
    with pytest.raises(UserError, match=message):
        structured(SearchSpace, space, "space")


@pytest.mark.parametrize("space", ["mbv3_micro", "mbv3_32", "proxyless_224"])
def test_names_of_archs_are_those_of_the_pareto_points(space):
    space = load_space(space)
    points = space.pareto_archs()
    first = next(iter(points.values()))
    for name, arch in points.items():
        assert space.named(name, "key") == arch
    assert space.named("smallest", "key") == first
    assert space.named("largest", "key") == space.largest() == list(points.values())[-1]
    assert space.ends() == {"smallest": first, "largest": space.largest()}
    odd = space.sample(Random(1))
    assert space.named(str(odd), "key") == odd
    assert [space.name_of(arch) for arch in (first, space.largest(), odd)] == [
        "smallest",
        "largest",
        str(odd),
    ]


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("mbv3_micro", "D1E2K3"),
        ("mbv3_32", "D2E3K3"),
        ("proxyless_224", "D2E3K3"),
        ("mbv3_224_elastic", "D2E3K3R128"),
        ("resnet50d_224", "D2E0.2K3W0.65"),
        ("mbv3_32_k7", None),  # its smallest point is the arch with the least of everything
    ],
)
def test_the_arch_with_the_smallest_kernels_has_a_name_of_its_own(space, name):
    space = load_space(space)
    names, least = space.names(), space.smallest()
    called = [other for other, arch in names.items() if arch == least]
    assert called == ([name] if name else ["smallest", next(iter(space.pareto_archs()))])
    assert space.named(name or "smallest", "key") == least
    assert (least == names["smallest"]) == (name is None)
    assert len(space.pareto_archs()) == len({*space.pareto_archs().values()}) == 6
    assert len(named_archs(space)) == 6 + (name is not None)


def test_a_coupled_spaces_arch_with_the_smallest_kernels_has_a_name_too(micro):
    assert replace(micro, coupled=True).least() == {"D1K3": micro.smallest()}
    assert micro.couple([3, 5, 3]).least() == {}
    assert micro.restrict(kernel=[5]).ends() == micro.ends()


@pytest.mark.parametrize("text", ["middle", "D9E9K9", "k9e2_k3e2_k3e2_r28", "k3e2_r28", "k3e2_k3e2_k3e2_r32", ""])
def test_other_archs_are_refused(micro, text):
    with pytest.raises(UserError) as caught:
        micro.named(text, "key")
    start, _, example = str(caught.value).rpartition(" such as ")
    assert start.startswith(f"key is {text!r}; allowed: smallest, largest, D1E2K5, D2E2K5, ")
    assert Arch.parse(example) in micro
