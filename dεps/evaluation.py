"""Accuracy of archs: extract, recalibrate BN, measure.

Subnets share BN statistics that fit none of them, so before an arch is evaluated its statistics are computed anew:
the cumulative average over batches of training images (OFA's procedure; BigNAS §3.3 finds it necessary).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pandas as pd
import torch
from torch import Generator, Tensor, nn

from dεps import parallel
from dεps.cost import arch_cost
from dεps.data.augment import WHOLE, Part
from dεps.data.batches import Normalise, plain_batches
from dεps.data.splits import PreparedData, Split
from dεps.errors import check_numbers
from dεps.pareto import mean_pareto_accuracy
from dεps.randomness import derive
from dεps.search_space import Arch, SearchSpace
from dεps.supernet.extract import extract
from dεps.supernet.network import Supernet

RECALIBRATION_BATCH = 200
EVALUATION_BATCH = 250


def recalibration_indices(train: Split, images: int, seed: int) -> Tensor:
    """A random choice of training images, the same for every arch and epoch of a run."""
    generator = Generator().manual_seed(derive(seed, "recalibration"))
    return torch.randperm(len(train), generator=generator)[:images]


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every BN's statistics to the average over `batches` of images; leaves `net` in eval mode."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch: cumulative average
    net.train()
    for images in batches:
        net(images)
    net.eval()


@torch.no_grad()
def count_correct(net: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> tuple[int, int]:
    """Images classified correctly, and images seen."""
    correct = seen = 0
    for images, labels in batches:
        predicted = net(images.to(device)).argmax(1)
        correct += int((predicted == labels.to(device)).sum())
        seen += len(labels)
    return correct, seen


def recalibrated(net: Supernet, arch: Arch, data: PreparedData, indices: Tensor) -> nn.Module:
    """The extracted subnet with BN statistics from the training images at `indices`, in eval mode.

    Images are brought to the resolution of `arch`, here and wherever accuracy is measured.
    """
    device = net.classifier.weight.device
    plain = extract(net, arch)
    size, normalise, workers = RECALIBRATION_BATCH, Normalise.of(data), data.config.workers
    batches = plain_batches(
        data.train, normalise, batch_size=size, indices=indices, workers=workers, size=arch.resolution
    )
    recalibrate(plain, (images.to(device) for images, _ in batches))
    return plain


def top1(net: Supernet, arch: Arch, data: PreparedData, split: Split, indices: Tensor, part: Part = WHOLE) -> float:
    """Top-1 accuracy of `arch` on `split` in percent, BN recalibrated on the training images at `indices`.

    With `part`, this process counts its share of the images, and all of them learn the whole.
    """
    return accuracies(net, arch, data, [split], indices, part)[0]


def accuracies(
    net: Supernet, arch: Arch, data: PreparedData, splits: Sequence[Split], indices: Tensor, part: Part = WHOLE
) -> list[float]:
    """Top-1 accuracy on each of `splits` in percent, after one BN recalibration."""
    plain, device = recalibrated(net, arch, data, indices), net.classifier.weight.device
    results = []
    for split in splits:
        normalise, workers, size = Normalise.of(data), data.config.workers, arch.resolution
        own = _share(len(split), part)
        batches = plain_batches(split, normalise, batch_size=EVALUATION_BATCH, indices=own, workers=workers, size=size)
        correct, _ = count_correct(plain, batches, device)
        results.append(100.0 * parallel.total(correct, part) / len(split))
    return results


def _share(images: int, part: Part) -> Tensor | None:
    """Indices of whole batches, so that each image has the same neighbours however many processes there are."""
    if part.count == 1:
        return None
    batches = torch.arange(images).split(EVALUATION_BATCH)[part.number :: part.count]
    return torch.cat(batches) if batches else torch.arange(0)


SMALLEST = "smallest"


def named_archs(choices: SearchSpace) -> list[tuple[str, Arch]]:
    """The Pareto points, and the smallest arch, by name."""
    return [*choices.pareto_archs().items(), (SMALLEST, choices.smallest())]


def measured(
    net: Supernet, arch: Arch, data: PreparedData, splits: dict[str, Split], indices: Tensor
) -> dict[str, Any]:
    """What a table says of `arch`: its text, macs, params, and `<name>_top1` on each of `splits` in percent."""
    cost = arch_cost(net.space, arch, net.classes, net.channels)
    top1s = accuracies(net, arch, data, list(splits.values()), indices)
    row = {"arch": str(arch), "macs": cost.macs, "params": cost.params}
    return row | {f"{name}_top1": round(value, 4) for name, value in zip(splits, top1s, strict=True)}


def pareto_metrics(points: pd.DataFrame, column: str) -> dict[str, float]:
    """Mean Pareto accuracy, and top-1 of the cheapest and the largest Pareto point, from `column` in percent."""
    own = points[points.name != SMALLEST]
    values = {
        "mean": mean_pareto_accuracy(own.macs, own[column]),
        "smallest": float(own[column].iloc[0]),
        "largest": float(own[column].iloc[-1]),
    }
    return {name: round(value, 4) for name, value in values.items()}


@dataclass
class PopulationConfig:
    """Random archs per MAC bucket (RSS, arXiv 2204.09210)."""

    buckets: int = 5
    per_bucket: int = 100

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        check_numbers(self, where, buckets=(1, 1000), per_bucket=(1, 10**5))


def sample_population(
    space: SearchSpace,
    macs_of: Callable[[Arch], int],
    config: PopulationConfig,
    rng: Random,
    choices: SearchSpace | None = None,
) -> list[tuple[int, Arch]]:
    """Distinct random archs, `per_bucket` in each of `buckets` equal ranges of MACs: (bucket, arch).

    Uniform sampling hardly reaches the ends of the range, so the lowest bucket draws from the smallest expand ratio
    only and the highest from the largest only (RSS), and all depths and kernels. A bucket that holds fewer distinct
    archs than asked for, or yields none for long, stays smaller. With `choices` archs are drawn from that part of the
    space only; the buckets are those of `space`.
    """
    choices = choices or space
    low, high = macs_of(space.smallest()), macs_of(space.largest())
    expands = [expand for stage in space.stages for expand in stage.expand]
    by_bucket: list[dict[Arch, None]] = [{} for _ in range(config.buckets)]
    sources = [choices] * config.buckets
    if config.buckets > 1 and not choices.coupled:
        sources[0], sources[-1] = choices.restrict(expand=[min(expands)]), choices.restrict(expand=[max(expands)])
    for bucket, source in enumerate(sources):
        for _ in range(200 * config.per_bucket):
            if len(by_bucket[bucket]) == config.per_bucket:
                break
            arch = source.sample(rng)
            position = (macs_of(arch) - low) * config.buckets / max(1, high - low)
            if min(int(position), config.buckets - 1) == bucket:
                by_bucket[bucket][arch] = None
    return [(bucket, arch) for bucket, archs in enumerate(by_bucket) for arch in archs]


@dataclass
class EvaluateConfig:
    """The `evaluate` section of an experiment."""

    #: training images for BN recalibration, in batches of 200
    recalibration_images: int = 2000
    #: random archs per MAC bucket, measured on test (for the report) and on validation (for the predictor)
    population: PopulationConfig = field(default_factory=PopulationConfig)

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        check_numbers(self, where, recalibration_images=(2, 10**9))
