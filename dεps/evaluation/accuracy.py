"""Accuracy of archs: extract, recalibrate BN (`dεps.nets.batchnorm`), measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Annotated, Any

import pandas as pd
import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from dεps.core.errors import UserError
from dεps.core.randomness import derive
from dεps.core.schema import Images, checked
from dεps.core.stopwatch import computing
from dεps.data.augment import WHOLE, Part
from dεps.data.batches import Normalise, plain_batches
from dεps.data.config import AugmentConfig
from dεps.data.splits import PreparedData, Split
from dεps.evaluation import parallel
from dεps.evaluation.prefix_tree import Trie, image_bytes
from dεps.nets.batchnorm import recalibrate
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.pareto import mean_pareto_accuracy
from dεps.spaces.space import Arch, SearchSpace

#: a size to compute with: the statistics do not depend on it
RECALIBRATION_BATCH = 200
#: training images for BN statistics where nothing says how many
RECALIBRATION_IMAGES = 2000
#: allowed values of `train.recalibrate_on`; the public code of OFA and DεpS does the second
AUGMENTED = "augmented"
#: bytes of the largest activation of a batch: more of it leaves a CPU's caches, or is too much for a GPU that keeps one
#: of each layer in which archs part; less of it is all overhead
CPU_BATCH, GPU_BATCH = 2**25, 2**29


@dataclass(frozen=True)
class Recalibration:
    """The training images that BN statistics come from: those at `indices` int64 (n,), augmented as said or plain."""

    indices: Tensor
    augment: AugmentConfig | None = None

    @classmethod
    def of(cls, train: Split, images: int, seed: int, augment: AugmentConfig | None = None) -> Recalibration:
        """A random choice of so many training images, the same for every arch and epoch of a run."""
        generator = Generator().manual_seed(derive(seed, "recalibration"))
        return cls(torch.randperm(len(train), generator=generator)[:images], augment)

    def batches(self, data: PreparedData, size: int, device: torch.device) -> Iterator[Tensor]:
        """Them as float (batch, channels, size, size), normalised for `device`."""
        batches = plain_batches(
            data.train,
            Normalise.of(data, device),
            batch_size=RECALIBRATION_BATCH,
            indices=self.indices,
            workers=data.workers,
            size=size,
            augment=self.augment,
        )
        return (images for images, _ in batches)


def recalibrated(net: Supernet, arch: Arch, data: PreparedData, images: Recalibration | None = None) -> nn.Module:
    """The extracted subnet with BN statistics from training images, in eval mode.

    They are `images`, or `RECALIBRATION_IMAGES` random ones, brought to the resolution of `arch` as wherever accuracy
    is measured.
    """
    images = images or Recalibration.of(data.train, RECALIBRATION_IMAGES, 0)
    _check_fit(net, [arch], data)
    device = net.classifier.weight.device
    plain = extract(net, arch).eval()
    recalibrate(plain.body, images.batches(data, arch.resolution, device))
    return plain


def top1(
    net: Supernet, arch: Arch, data: PreparedData, split: Split, images: Recalibration, part: Part = WHOLE
) -> float:
    """Top-1 accuracy of `arch` on `split` in percent, BN recalibrated.

    With `part`, this process counts its share of the images, and all of them learn the whole.
    """
    return accuracies(net, [arch], data, [split], images, part)[0][0]


def accuracies(
    net: Supernet,
    archs: Sequence[Arch],
    data: PreparedData,
    splits: Sequence[Split],
    images: Recalibration | None = None,
    part: Part = WHOLE,
) -> list[list[float]]:
    """For each of `archs` its top-1 accuracy on each of `splits` in percent, after one BN recalibration.

    Archs that begin alike are faster together; the results are the same alone. `images`, for BN, are by default
    `RECALIBRATION_IMAGES` of the training images. Raises `UserError` where net, archs and data do not fit together.
    """
    images = images or Recalibration.of(data.train, RECALIBRATION_IMAGES, 0)
    rows = correct(net, archs, data, splits, images, part)
    return [
        [100.0 * parallel.total(int(right.sum()), part) / len(split) for right, split in zip(row, splits, strict=True)]
        for row in rows
    ]


@computing()
def correct(
    net: Supernet,
    archs: Sequence[Arch],
    data: PreparedData,
    splits: Sequence[Split],
    images: Recalibration,
    part: Part = WHOLE,
) -> list[list[Tensor]]:
    """For each of `archs` which images of each of `splits` it gives their label: bool (images,), on the CPU.

    With `part` only the images of this process's share, in their order.
    """
    _check_fit(net, archs, data)
    found: dict[Arch, list[Tensor]] = {}
    device = net.classifier.weight.device
    batch = evaluation_batch(net.space, data.channels, device)
    for size in sorted({arch.resolution for arch in archs}):
        own = list(dict.fromkeys(arch for arch in archs if arch.resolution == size))
        trie = Trie(net, own)
        trie.recalibrate(images.batches(data, size, device), RECALIBRATION_BATCH)
        rights = []
        for split in splits:
            batches = plain_batches(
                split,
                Normalise.of(data, device),
                batch_size=batch,
                indices=_share(len(split), batch, part),
                workers=data.workers,
                size=size,
            )
            rights.append(trie.correct(batches, batch))
        found |= {arch: list(row) for arch, row in zip(own, zip(*rights, strict=True), strict=True)}
    return [found[arch] for arch in archs]


def _check_fit(net: Supernet, archs: Sequence[Arch], data: PreparedData) -> None:
    for what, own, there in (
        ("classes", net.classes, len(data.classes)),
        ("input channels", net.channels, data.channels),
    ):
        if own != there:
            raise UserError(f"the supernet has {own} {what}, the data {data.folder} has {there}; expected the same")
    for arch in archs:
        net.check_arch(arch)


def evaluation_batch(space: SearchSpace, channels: int, device: torch.device) -> int:
    """Images of a batch; the same for all archs of a space."""
    budget = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    return min(500, max(16, budget // image_bytes(space, [space.largest()], channels)))


def _share(images: int, batch: int, part: Part) -> Tensor | None:
    """Indices of whole batches, so that each image has the same neighbours however many processes there are."""
    if part.count == 1:
        return None
    batches = torch.arange(images).split(batch)[part.number :: part.count]
    return torch.cat(batches) if batches else torch.arange(0)


def named_archs(choices: SearchSpace) -> dict[str, Arch]:
    """The Pareto points, and after them the arch with the least of everything where it is another, by name."""
    return {**choices.pareto_archs(), **choices.least()}


def measured(
    net: Supernet, archs: Sequence[Arch], data: PreparedData, splits: dict[str, Split], images: Recalibration
) -> list[dict[str, Any]]:
    """What a table says of each arch: its text, macs, params, and `<name>_top1` on each of `splits` in percent."""
    rows = []
    for arch, top1s in zip(archs, accuracies(net, archs, data, list(splits.values()), images), strict=True):
        cost = arch_cost(net.space, arch, net.classes, net.channels)
        row = {"arch": str(arch), "macs": cost.macs, "params": cost.params}
        rows.append(row | {f"{name}_top1": round(value, 4) for name, value in zip(splits, top1s, strict=True)})
    return rows


def pareto_metrics(points: pd.DataFrame, column: str) -> dict[str, float]:
    """Mean Pareto accuracy, and top-1 of the smallest and the largest of these points, from `column` in percent."""
    values = {
        "mean": mean_pareto_accuracy(points.macs, points[column]),
        "smallest": float(points[column].iloc[0]),
        "largest": float(points[column].iloc[-1]),
    }
    return {name: round(value, 4) for name, value in values.items()}


@checked
class PopulationConfig:
    """Random archs per MAC bucket (RSS, arXiv 2204.09210)."""

    #: equal ranges of MACs between the smallest and the largest arch
    buckets: Annotated[int, Field(ge=1, le=1000)] = 5
    #: archs in each
    per_bucket: Annotated[int, Field(ge=1, le=100_000)] = 100


#: of a tilt: the last choice of several is e⁶ times as likely as the first, or the first as the last
STEEPEST = 6.0


class _TiltedRandom(Random):
    """Chooses from ascending values: the larger `tilt`, the larger."""

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
    """Distinct random archs, `per_bucket` in each of `buckets` equal ranges of MACs: (bucket, arch).

    Uniform sampling hardly reaches the ends of the range, so the lowest bucket draws from the smallest expand ratio
    only and the highest from the largest only (RSS), and all depths and kernels. What it does not fill, in the papers'
    spaces the bucket below the highest, is drawn with larger, or smaller, choices more likely. A bucket that holds
    fewer distinct archs than asked for stays smaller. With `choices` archs are drawn from that part of the space only;
    the buckets are those of `space`.
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


@checked
class EvaluateConfig:
    """The `evaluate` section of an experiment."""

    #: training images for BN recalibration
    recalibration_images: Images = RECALIBRATION_IMAGES
    #: random archs, measured on test (for the report) and on validation (for the predictor)
    population: PopulationConfig = field(default_factory=PopulationConfig)
