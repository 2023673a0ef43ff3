"""Describes search spaces, and the archs in them, as plain data; elasticity and rounding follow OFA (1908.09791, §3).

What the choices mean as layers is up to the space's family (`dεps/nets/`). Nothing here imports torch: sampling and
encoding archs must stay cheap.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from dεps.core.errors import UserError, check_choice
from dεps.core.schema import ASCENDING, Label, checked, one_of, rule


def _is_as_written(value: float) -> bool:
    """Whether an arch's text, which gives ratios by %g, and by which files are named, can give it back."""
    return re.fullmatch(r"[\d.]+", text := f"{value:g}") is not None and float(text) == value


# No network is wider or deeper: a slip of the pen must not fill the memory.
Width = Annotated[int, Field(ge=1, le=16_384)]
Stride = Annotated[int, one_of(1, 2)]
Activation = Literal["relu", "relu6", "h_swish"]
_WRITTEN = rule(_is_as_written, "expected 0.0001 to 100, with at most 6 digits")
Ratio = Annotated[float, Field(gt=0, le=100), _WRITTEN]
Ratios = Annotated[list[Ratio], Field(min_length=1), ASCENDING]


def make_divisible(value: float, divisor: int = 8) -> int:
    """md(v): nearest multiple of `divisor`, at least `divisor`, and never below 0.9 v."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Block(NamedTuple):
    """Choices of one active block."""

    kernel: int
    expand: float

    def __str__(self) -> str:
        return f"k{self.kernel}e{self.expand:g}"

    @classmethod
    def parse(cls, text: str) -> Block:
        """Inverse of `str(block)`. Other texts raise `ValueError`, or make a block with another `str`."""
        kernel, expand = text.removeprefix("k").split("e")
        return cls(int(kernel), _number(expand))


@dataclass(frozen=True, slots=True)
class Arch:
    """One subnet: active blocks per stage, side of its images in pixels, and width multipliers where elastic.

    Inactive blocks do not appear, so two archs that compute the same network are equal.
    """

    stages: tuple[tuple[Block, ...], ...]
    resolution: int
    widths: tuple[float, ...] = ()

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of active blocks per stage."""
        return tuple(len(stage) for stage in self.stages)

    def at(self, resolution: int) -> Arch:
        """The same arch for images of another side."""
        return self if resolution == self.resolution else replace(self, resolution=resolution)

    def __str__(self) -> str:
        parts = ["-".join(map(str, stage)) or _SKIPPED for stage in self.stages]
        if self.widths:
            parts.append("w" + "-".join(f"{width:g}" for width in self.widths))
        return "_".join([*parts, f"r{self.resolution}"])

    @classmethod
    def parse(cls, text: str) -> Arch:
        """Inverse of `str(arch)`. Raises `UserError` where `text` is no arch."""
        *parts, resolution = text.split("_")
        widths = parts.pop()[1:].split("-") if parts and parts[-1].startswith("w") else []
        with suppress(ValueError):
            stages = tuple(tuple(Block.parse(block) for block in part.split("-") if part != _SKIPPED) for part in parts)
            arch = cls(stages, int(resolution.removeprefix("r")), tuple(map(_number, widths)))
            if str(arch) == text:
                return arch
        raise UserError(f"{text!r} is no arch; expected a form like k3e6-k5e3_k7e4_r32")


#: stands for a stage without active blocks
_SKIPPED = "x"


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


@checked
class Stage:
    """One elastic stage: blocks of the same width, of which an arch has some. Choices ascend."""

    #: channels of each block's output
    width: Width
    #: of the first block
    stride: Stride
    act: Activation
    #: choices of the number of blocks
    depth: Annotated[list[Annotated[int, Field(ge=0, le=100)]], Field(min_length=1), ASCENDING]
    #: choices of a block's kernel size
    kernel: Annotated[list[Annotated[int, one_of(3, 5, 7)]], Field(min_length=1), ASCENDING]
    #: choices of a block's expand ratio: channels inside it over those that it takes in (or, in a ResNet, gives out)
    expand: Ratios
    #: squeeze and excite
    se: bool = False


class Layer(NamedTuple):
    """What the cost of a convolution depends on; a linear layer is one of kernel and size 1."""

    kernel: int
    inputs: int
    outputs: int
    size: int  # side of the output in pixels
    groups: int = 1
    bn: bool = True
    bias: bool = False
    #: number of its elastic block, counted over all stages at their largest depths; None: every arch has this layer
    slot: int | None = None

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return self.kernel**2 * self.inputs // self.groups * self.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations on one image."""
        return self.weights * self.size**2


@checked(kw_only=True)
class SearchSpace:
    """All archs of one YAML in `params/space/`; a family's own fields are in its subclass `Space` in `geometry.py`."""

    #: label in tables
    name: Label
    #: folder of `dεps/nets/`
    family: str = "mobilenet"
    #: choices of the input's side in pixels
    resolution: Annotated[list[Annotated[int, Field(ge=1, le=1024)]], Field(min_length=1), ASCENDING]
    stages: Annotated[list[Stage], Field(min_length=1, max_length=100)]
    #: CompOFA (arXiv 2104.12642): a stage's n-th smallest depth always goes with its n-th smallest expand ratio; with
    #: other numbers of them the ends go together. All blocks of a stage with one depth have one ratio out of all
    coupled: bool = False

    @classmethod
    def variant(cls, data: dict[str, Any], where: str) -> type[SearchSpace]:
        """The family's class for a space given as `data`. Raises `UserError` where there is no such family."""
        if cls is not SearchSpace:
            return cls
        family = data.get("family", cls.family)
        check_choice(family, families(), f"{where}.family")
        return family_module(family, "geometry").Space

    @property
    def width_choices(self) -> list[list[float]]:
        """The elastic width multipliers and their choices; none in most families."""
        return []

    def layers(self, arch: Arch, classes: int, channels: int) -> Iterator[Layer]:
        """Every convolution and linear layer of `arch` for images of `channels` channels."""
        raise NotImplementedError

    # --- named archs -------------------------------------------------------------------------------------------

    def _expands(self, stage: Stage, depth: int) -> list[float]:
        """Expand ratios that a stage offers at a depth."""
        last = len(stage.depth) - 1
        if not self.coupled or not last:
            return stage.expand
        return [stage.expand[stage.depth.index(depth) * (len(stage.expand) - 1) // last]]

    def couple(self, kernels: Sequence[int]) -> SearchSpace:
        """CompOFA's part of the space: depth and expand ratio coupled, the kernel of stage i fixed at `kernels[i]`."""
        pairs = zip(self.stages, kernels, strict=True)
        return replace(self, stages=[replace(stage, kernel=[kernel]) for stage, kernel in pairs], coupled=True)

    def largest(self) -> Arch:
        """The full model, with the most of everything."""
        return self._end(-1)

    def smallest(self) -> Arch:
        """The arch with the least of everything, as the sandwich trains it; the name "smallest" is that of `ends`."""
        return self._end(0)

    def _end(self, end: int) -> Arch:
        stages = ((Block(stage.kernel[end], stage.expand[end]),) * stage.depth[end] for stage in self.stages)
        return Arch(tuple(stages), self.resolution[end], tuple(choices[end] for choices in self.width_choices))

    def pareto_archs(self) -> dict[str, Arch]:
        """The six archs that the DεpS paper reports, by name, all at the largest kernel, by ascending MACs.

        With D {2,3,4} and E {3,4,6} these are D2E3, D3E3, D4E3, D4E4, D3E6 and D4E6. In other spaces each stage takes
        its own smallest, middle and largest, and the names are those of most stages; a coupled one has one a depth.
        """
        kernel = max(kernel for stage in self.stages for kernel in stage.kernel)
        # A stage without a choice has no say in names as long as others have one.
        depths = _common([stage.depth for stage in self.stages])
        expands = _common([stage.expand for stage in self.stages])
        if self.coupled:
            return {f"D{depth}": self._ranked(rank, len(depths), 0, 1) for rank, depth in enumerate(depths)}
        low, mid_d, high_d = 0, len(depths) // 2, len(depths) - 1
        mid_e, high_e = (len(expands) - 1) // 2, len(expands) - 1
        ranks = [(low, low), (mid_d, low), (high_d, low), (high_d, mid_e), (mid_d, high_e), (high_d, high_e)]
        return {
            f"D{depths[d]}E{expands[e]:g}K{kernel}": self._ranked(d, len(depths), e, len(expands)) for d, e in ranks
        }

    def _ranked(self, depth: int, depths: int, expand: int, expands: int) -> Arch:
        """The arch with each stage's choice number `depth` of `depths`, likewise `expand`, and the most of all else."""

        def pick(choices: list, rank: int, count: int) -> Any:
            return choices[rank] if len(choices) == count else choices[rank * (len(choices) - 1) // max(1, count - 1)]

        stages = []
        for stage in self.stages:
            chosen = pick(stage.depth, depth, depths)
            offered = self._expands(stage, chosen)
            ratio = pick(offered, depth, depths) if self.coupled else pick(offered, expand, expands)
            stages.append((Block(stage.kernel[-1], ratio),) * chosen)
        return replace(self.largest(), stages=tuple(stages))

    def ends(self) -> dict[str, Arch]:
        """The first and last Pareto point, called `smallest` and `largest` in logs, tables, figures and MLflow."""
        return {"smallest": next(iter(self.pareto_archs().values())), "largest": self.largest()}

    def least(self) -> dict[str, Arch]:
        """The arch of `smallest()` under its own name, such as D2E3K3W0.65R128; empty where it is a Pareto point."""
        arch, points = self.smallest(), self.pareto_archs()
        if arch in points.values():
            return {}
        kernel = min(stage.kernel[0] for stage in self.stages)
        name = f"{next(iter(points)).partition('K')[0]}K{kernel}"
        if any(len(choices) > 1 for choices in self.width_choices):
            name += f"W{min(arch.widths):g}"
        if len(self.resolution) > 1:
            name += f"R{arch.resolution}"
        return {name: arch}

    def names(self) -> dict[str, Arch]:
        """Archs by name: `smallest` and `largest`, the Pareto points, and the one that is smaller than all of them."""
        return {**self.ends(), **self.pareto_archs(), **self.least()}

    def named(self, text: str, where: str = "arch") -> Arch:
        """The arch called `text` in `names` or by `str(arch)`. Raises `UserError` naming the key `where`."""
        names = self.names()
        if text in names:
            return names[text]
        if not self.writes(text):
            known = ", ".join(names)
            raise UserError(f"{where} is {text!r}; allowed: {known}, or an arch of the space such as {self.smallest()}")
        return Arch.parse(text)

    def writes(self, text: str) -> bool:
        """Whether `text` is an arch of the space in the form of `str(arch)`."""
        try:
            return Arch.parse(text) in self
        except UserError:
            return False

    def name_of(self, arch: Arch) -> str:
        """First name of `arch` in `names`, or else `str(arch)`."""
        return next((name for name, other in self.names().items() if other == arch), str(arch))

    # --- sampling ----------------------------------------------------------------------------------------------

    def sample(self, rng: Random) -> Arch:
        """A random arch: depth uniform per stage, kernel and expand uniform per block (OFA's sampler)."""
        resolution = self.resolution[0] if len(self.resolution) == 1 else rng.choice(self.resolution)
        widths = tuple(rng.choice(choices) for choices in self.width_choices)
        stages = []
        for stage in self.stages:
            depth = rng.choice(stage.depth)
            expands = self._expands(stage, depth)
            if self.coupled:
                expands = [rng.choice(expands)]
            stages.append(tuple(Block(rng.choice(stage.kernel), rng.choice(expands)) for _ in range(depth)))
        return Arch(tuple(stages), resolution, widths)

    def restrict(
        self,
        depth: Sequence[int] | None = None,
        kernel: Sequence[int] | None = None,
        expand: Sequence[float] | None = None,
    ) -> SearchSpace:
        """The part of the space with only these choices in each stage, or its largest one where it has none of them."""

        def keep(choices: list, allowed: Sequence | None) -> list:
            return choices if allowed is None else [c for c in choices if c in allowed] or choices[-1:]

        def narrow(stage: Stage) -> Stage:
            depths, expands = keep(stage.depth, depth), keep(stage.expand, expand)
            if self.coupled and len(stage.depth) > 1:
                expands = list(dict.fromkeys(self._expands(stage, chosen)[0] for chosen in depths))
            return replace(stage, depth=depths, kernel=keep(stage.kernel, kernel), expand=expands)

        return replace(self, stages=[narrow(stage) for stage in self.stages])

    def top(self, depth: int = 0, kernel: int = 0, expand: int = 0) -> SearchSpace:
        """The part of the space with only so many of the largest choices in each stage (0: all), for shrinking."""
        stages = [
            replace(s, depth=s.depth[-depth:], kernel=s.kernel[-kernel:], expand=s.expand[-expand:])
            for s in self.stages
        ]
        return replace(self, stages=stages)

    # --- genomes: fixed-length integer vectors, for predictors and evolutionary search ---------------------------

    @property
    def genes(self) -> tuple[int, ...]:
        """Numbers of choices: resolution, widths, then per stage its depth and each block's kernel and expand ratio."""
        genes = [len(self.resolution), *map(len, self.width_choices)]
        for stage in self.stages:
            genes += [len(stage.depth), *([len(stage.kernel), len(stage.expand)] * stage.depth[-1])]
        return tuple(genes)

    def to_genome(self, arch: Arch) -> tuple[int, ...]:
        """Index of the choice made for each gene; genes of inactive blocks are 0."""
        genome = [self.resolution.index(arch.resolution)]
        genome += [choices.index(width) for choices, width in zip(self.width_choices, arch.widths, strict=True)]
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
        widths = tuple(choices[next(genes)] for choices in self.width_choices)
        stages = []
        for stage in self.stages:
            depth = stage.depth[next(genes)]
            blocks = [Block(stage.kernel[next(genes)], stage.expand[next(genes)]) for _ in range(stage.depth[-1])]
            if self.coupled:
                expands = self._expands(stage, depth)
                blocks = [
                    Block(block.kernel, expands[0] if len(expands) == 1 else blocks[0].expand) for block in blocks
                ]
            stages.append(tuple(blocks[:depth]))
        return Arch(tuple(stages), resolution, widths)

    def size(self) -> int:
        """Number of distinct archs."""

        def count(stage: Stage, depth: int) -> int:
            expands = len(self._expands(stage, depth)) ** (1 if self.coupled else depth)
            return len(stage.kernel) ** depth * expands

        stages = (sum(count(stage, depth) for depth in stage.depth) for stage in self.stages)
        return len(self.resolution) * math.prod(map(len, self.width_choices)) * math.prod(stages)

    def __contains__(self, arch: Arch) -> bool:
        try:
            return self.from_genome(self.to_genome(arch)) == arch
        except ValueError:  # a choice that is not offered, or another number of stages or widths
            return False


def families(module: str = "geometry") -> list[str]:
    """Names of the families with this module in their folder; with `geometry`, of all."""
    folders = map(Path, import_module("dεps.nets").__path__)
    return sorted({path.parent.name for folder in folders for path in folder.glob(f"*/{module}.py")})


def family_module(family: str, module: str) -> ModuleType:
    """A module out of a family's folder `dεps/nets/<family>/`."""
    return import_module(f"dεps.nets.{family}.{module}")


def strided(size: int, stride: int) -> int:
    """Side of the output of a "same"-padded convolution over `size` pixels."""
    return -(-size // stride)


def _common(lists: list[list]) -> list:
    """The most frequent list with more than one choice, or of all if none has more; the first of equally frequent."""
    lists = [values for values in lists if len(values) > 1] or lists
    return max(lists, key=lists.count)
