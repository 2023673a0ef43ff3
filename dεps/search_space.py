"""Search spaces as data, and the archs in them.

A `SearchSpace` is one YAML file (`params/space/`). An `Arch` is one choice from it: per stage the sequence of active
blocks, each with its kernel and expand ratio. Inactive blocks do not appear, so two archs that compute the same
network are equal. Nothing here imports torch: sampling and encoding archs must stay cheap.

Elasticity and rounding follow OFA (arXiv 1908.09791, §3 and its public supernets).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

from dεps.errors import UserError

ACTIVATIONS = ("relu", "relu6", "h_swish")
KERNELS = (3, 5, 7)


def make_divisible(value: float, divisor: int = 8) -> int:
    """md(v): nearest multiple of `divisor`, at least `divisor`, and never below 0.9 v."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Block(NamedTuple):
    """The choice made for one active inverted bottleneck."""

    kernel: int
    expand: float

    def __str__(self) -> str:
        return f"k{self.kernel}e{self.expand:g}"


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet: active blocks per stage, and the input resolution in pixels."""

    stages: tuple[tuple[Block, ...], ...]
    resolution: int

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of active blocks per stage."""
        return tuple(len(stage) for stage in self.stages)

    def __str__(self) -> str:
        stages = "_".join("-".join(map(str, stage)) for stage in self.stages)
        return f"{stages}_r{self.resolution}"

    @classmethod
    def parse(cls, text: str) -> Arch:
        """The inverse of `str(arch)`. Raises `UserError` where `text` is no arch."""
        *stages, resolution = text.split("_")
        try:
            blocks = [
                [re.fullmatch(r"k(\d+)e([\d.]+)", block).groups() for block in stage.split("-")] for stage in stages
            ]
            size = int(re.fullmatch(r"r(\d+)", resolution).group(1))
        except AttributeError:
            raise UserError(f"'{text}' is no arch; expected a form like k3e6-k5e3_k7e4_r32") from None
        return cls(tuple(tuple(Block(int(k), _number(e)) for k, e in stage) for stage in blocks), size)


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


@dataclass
class Stem:
    """First convolution, 3×3."""

    width: int
    stride: int
    act: str


@dataclass
class Static:
    """The block after the stem that every arch shares: depthwise 3×3 and projection, expand ratio 1."""

    width: int
    act: str
    skip: bool


@dataclass
class Stage:
    """One elastic stage. `depth`, `kernel` and `expand` list the choices, ascending."""

    width: int
    stride: int
    act: str
    se: bool
    depth: list[int]
    kernel: list[int]
    expand: list[float]


@dataclass
class Head:
    """1×1 to `expand` channels with BN, global pooling, and an optional 1×1 to `features` without BN (0: none)."""

    expand: int
    features: int
    act: str


class BlockSpec(NamedTuple):
    """Geometry of one inverted bottleneck inside one arch: all that a builder or a cost model needs."""

    index: int  # position in the supernet's flat list of blocks; 0 is the static block
    inputs: int
    mid: int
    outputs: int
    kernel: int
    stride: int
    act: str
    se: int  # squeezed width, 0 without squeeze-and-excite
    skip: bool
    expansion: bool  # False for the static block, which has no 1×1 expansion


@dataclass
class SearchSpace:
    """A family of archs in the MobileNetV3 form; see `params/space/*.yaml` for the fields in use."""

    name: str
    resolution: list[int]
    stem: Stem
    static: Static
    stages: list[Stage]
    head: Head
    #: CompOFA (arXiv 2104.12642): a stage's n-th smallest depth always goes with its n-th smallest expand ratio
    coupled: bool = False

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        _check_ascending(self.resolution, f"{where}.resolution")
        if not self.stages:
            raise UserError(f"{where}.stages is empty; a space needs at least one stage")
        for number, stage in enumerate(self.stages):
            _check_stage(stage, f"{where}.stages[{number}]")
            if self.coupled and len(stage.depth) != len(stage.expand):
                raise UserError(
                    f"{where}.stages[{number}] has other numbers of depths and expand ratios; coupled needs equal"
                )
        for key, act in (("stem", self.stem.act), ("static", self.static.act), ("head", self.head.act)):
            _check_choice(act, ACTIVATIONS, f"{where}.{key}.act")
        widths = {"stem.width": self.stem.width, "static.width": self.static.width, "head.expand": self.head.expand}
        for key, value in widths.items():
            if value < 1:
                raise UserError(f"{where}.{key} is {value}; expected a positive width")
        if self.head.features < 0:
            raise UserError(f"{where}.head.features is {self.head.features}; expected 0 (none) or a positive width")
        _check_choice(self.stem.stride, (1, 2), f"{where}.stem.stride")
        if self.static.skip and self.static.width != self.stem.width:
            raise UserError(f"{where}.static.skip is true; expected static.width to equal stem.width then")

    # --- named archs -------------------------------------------------------------------------------------------

    def uniform(self, depth: int, kernel: int, expand: float, resolution: int | None = None) -> Arch:
        """The arch with the same choice everywhere, such as D2E3K7.

        Where a stage does not offer a value it takes the next smaller one that it has, or else its smallest.
        """
        stages = []
        for stage in self.stages:
            chosen = _at_most(stage.depth, depth)
            ratio = self._coupled_expand(stage, chosen) if self.coupled else _at_most(stage.expand, expand)
            stages.append((Block(_at_most(stage.kernel, kernel), ratio),) * chosen)
        return Arch(tuple(stages), self.resolution[-1] if resolution is None else resolution)

    @staticmethod
    def _coupled_expand(stage: Stage, depth: int) -> float:
        return stage.expand[stage.depth.index(depth)]

    def couple(self, kernels: Sequence[int]) -> SearchSpace:
        """CompOFA's subspace: depth and expand coupled, the kernel of stage i fixed at `kernels[i]`."""
        pairs = zip(self.stages, kernels, strict=True)
        return replace(self, stages=[replace(stage, kernel=[kernel]) for stage, kernel in pairs], coupled=True)

    def largest(self) -> Arch:
        """The full model."""
        return Arch(
            tuple((Block(stage.kernel[-1], stage.expand[-1]),) * stage.depth[-1] for stage in self.stages),
            self.resolution[-1],
        )

    def smallest(self) -> Arch:
        """The arch with the least of everything."""
        return Arch(
            tuple((Block(stage.kernel[0], stage.expand[0]),) * stage.depth[0] for stage in self.stages),
            self.resolution[0],
        )

    def pareto_archs(self) -> dict[str, Arch]:
        """The six archs that the DεpS paper reports, all at the largest kernel, in the order of their MACs.

        With D {2,3,4} and E {3,4,6}: D2E3, D3E3, D4E3, D4E4, D3E6, D4E6; in other spaces the smallest, middle and
        largest depth and expand ratio stand in their places. In a coupled space the expand ratio follows the depth.
        """
        # A stage without a choice, such as Proxyless's last, has no say in which values are meant.
        depths = sorted({depth for stage in self.stages for depth in stage.depth if len(stage.depth) > 1} or {1})
        expands = sorted({ratio for stage in self.stages for ratio in stage.expand if len(stage.expand) > 1} or {1})
        kernel = max(kernel for stage in self.stages for kernel in stage.kernel)
        if self.coupled:
            return {f"D{depth}": self.uniform(depth, kernel, 0) for depth in depths}
        low_d, mid_d, high_d = depths[0], depths[len(depths) // 2], depths[-1]
        low_e, mid_e, high_e = expands[0], expands[len(expands) // 2], expands[-1]
        points = [(low_d, low_e), (mid_d, low_e), (high_d, low_e), (high_d, mid_e), (mid_d, high_e), (high_d, high_e)]
        return {f"D{d}E{e:g}K{kernel}": self.uniform(d, kernel, e) for d, e in points}

    # --- sampling ----------------------------------------------------------------------------------------------

    def sample(self, rng: Random) -> Arch:
        """A random arch: depth uniform per stage, kernel and expand uniform per block (OFA's sampler)."""
        resolution = self.resolution[0] if len(self.resolution) == 1 else rng.choice(self.resolution)
        stages = []
        for stage in self.stages:
            depth = rng.choice(stage.depth)
            expands = [self._coupled_expand(stage, depth)] if self.coupled else stage.expand
            stages.append(tuple(Block(rng.choice(stage.kernel), rng.choice(expands)) for _ in range(depth)))
        return Arch(tuple(stages), resolution)

    def restrict(
        self,
        depth: Sequence[int] | None = None,
        kernel: Sequence[int] | None = None,
        expand: Sequence[float] | None = None,
    ) -> SearchSpace:
        """The space with only the named choices left in each stage; archs of it are archs of this space too."""

        def keep(choices: list, allowed: Sequence | None) -> list:
            return choices if allowed is None else [c for c in choices if c in allowed] or choices[-1:]

        def narrow(stage: Stage) -> Stage:
            depths, expands = keep(stage.depth, depth), keep(stage.expand, expand)
            if self.coupled:
                expands = [self._coupled_expand(stage, chosen) for chosen in depths]
            return replace(stage, depth=depths, kernel=keep(stage.kernel, kernel), expand=expands)

        return replace(self, stages=[narrow(stage) for stage in self.stages])

    def top(self, depth: int | None = None, kernel: int | None = None, expand: int | None = None) -> SearchSpace:
        """The space with only the so many largest choices left in each stage, as progressive shrinking needs them."""

        def last(choices: list, count: int | None) -> list:
            return choices if count is None else choices[-count:]

        stages = [
            replace(s, depth=last(s.depth, depth), kernel=last(s.kernel, kernel), expand=last(s.expand, expand))
            for s in self.stages
        ]
        return replace(self, stages=stages)

    # --- genomes: fixed-length integer vectors, for predictors and evolutionary search ---------------------------

    @property
    def genes(self) -> tuple[int, ...]:
        """Number of choices per gene: resolution, then per stage its depth and each block's kernel and expand."""
        genes = [len(self.resolution)]
        for stage in self.stages:
            genes += [len(stage.depth), *([len(stage.kernel), len(stage.expand)] * stage.depth[-1])]
        return tuple(genes)

    def to_genome(self, arch: Arch) -> tuple[int, ...]:
        """Indices of the choices made, one per gene; genes of inactive blocks are 0."""
        genome = [self.resolution.index(arch.resolution)]
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            genome.append(stage.depth.index(len(blocks)))
            for block in blocks:
                genome += [stage.kernel.index(block.kernel), stage.expand.index(block.expand)]
            genome += [0, 0] * (stage.depth[-1] - len(blocks))
        return tuple(genome)

    def from_genome(self, genome: Sequence[int]) -> Arch:
        """The arch of a genome; genes of inactive blocks are ignored."""
        genes = iter(genome)
        resolution = self.resolution[next(genes)]
        stages = []
        for stage in self.stages:
            depth = stage.depth[next(genes)]
            blocks = [Block(stage.kernel[next(genes)], stage.expand[next(genes)]) for _ in range(stage.depth[-1])]
            if self.coupled:
                blocks = [Block(block.kernel, self._coupled_expand(stage, depth)) for block in blocks]
            stages.append(tuple(blocks[:depth]))
        return Arch(tuple(stages), resolution)

    def mutate(self, arch: Arch, probability: float, rng: Random) -> Arch:
        """Each gene is drawn anew with `probability`."""
        genome = [
            rng.randrange(choices) if rng.random() < probability else gene
            for gene, choices in zip(self.to_genome(arch), self.genes, strict=True)
        ]
        return self.from_genome(genome)

    def encode(self, arch: Arch) -> list[float]:
        """One-hot kernel and expand per block, zeros where inactive, then resolution one-hot (OFA's predictor)."""
        code: list[float] = []
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            for position in range(stage.depth[-1]):
                block = blocks[position] if position < len(blocks) else None
                code += [float(block is not None and block.kernel == kernel) for kernel in stage.kernel]
                code += [float(block is not None and block.expand == expand) for expand in stage.expand]
        return code + [float(arch.resolution == size) for size in self.resolution]

    def size(self) -> int:
        """Number of distinct archs."""
        per_stage = (
            sum((len(s.kernel) * (1 if self.coupled else len(s.expand))) ** depth for depth in s.depth)
            for s in self.stages
        )
        return len(self.resolution) * math.prod(per_stage)

    def __contains__(self, arch: Arch) -> bool:
        return (
            arch.resolution in self.resolution
            and len(arch.stages) == len(self.stages)
            and all(
                len(blocks) in stage.depth
                and all(block.kernel in stage.kernel and block.expand in stage.expand for block in blocks)
                and not (self.coupled and any(b.expand != self._coupled_expand(stage, len(blocks)) for b in blocks))
                for stage, blocks in zip(self.stages, arch.stages, strict=True)
            )
        )

    # --- geometry ----------------------------------------------------------------------------------------------

    def blocks(self, arch: Arch) -> Iterator[BlockSpec]:
        """The inverted bottlenecks of `arch`, static block first, in the order of computation."""
        width = self.stem.width
        yield BlockSpec(0, width, width, self.static.width, 3, 1, self.static.act, 0, self.static.skip, expansion=False)
        width, start = self.static.width, 1
        for stage, blocks in zip(self.stages, arch.stages, strict=True):
            for position, block in enumerate(blocks):
                mid = middle_width(width, block.expand)
                stride = stage.stride if position == 0 else 1
                yield BlockSpec(
                    index=start + position,
                    inputs=width,
                    mid=mid,
                    outputs=stage.width,
                    kernel=block.kernel,
                    stride=stride,
                    act=stage.act,
                    se=squeeze_width(mid) if stage.se else 0,
                    skip=stride == 1 and width == stage.width,
                    expansion=True,
                )
                width = stage.width
            start += stage.depth[-1]


def middle_width(inputs: int, expand: float) -> int:
    """Channels inside an inverted bottleneck."""
    return make_divisible(round(inputs * expand))


def squeeze_width(mid: int) -> int:
    """Hidden channels of a squeeze-and-excite layer over `mid` channels."""
    return make_divisible(mid // 4)


def _at_most(choices: Sequence, value: float) -> Any:
    return max((choice for choice in choices if choice <= value), default=choices[0])


def _check_ascending(values: list, where: str) -> None:
    if not values or any(value <= 0 for value in values) or values != sorted(set(values)):
        raise UserError(f"{where} is {values}; expected a non-empty ascending list of positive numbers")


def _check_choice(value: Any, allowed: Sequence, where: str) -> None:
    if value not in allowed:
        raise UserError(f"{where} is {value!r}; allowed: {', '.join(map(str, allowed))}")


def _check_stage(stage: Stage, where: str) -> None:
    for key in ("depth", "kernel", "expand"):
        _check_ascending(getattr(stage, key), f"{where}.{key}")
    for kernel in stage.kernel:
        _check_choice(kernel, KERNELS, f"{where}.kernel")
    _check_choice(stage.act, ACTIVATIONS, f"{where}.act")
    _check_choice(stage.stride, (1, 2), f"{where}.stride")
    if stage.width < 1:
        raise UserError(f"{where}.width is {stage.width}; expected a positive width")
