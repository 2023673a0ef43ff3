"""Measures the accuracy of archs: subnets are cut from the supernet, BN is recalibrated, predictions are counted.

Subnets that begin with the same layers share the work on them (`dεps.evaluation.prefix_tree`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Generator, Tensor, nn

from dεps.core.errors import UserError
from dεps.core.randomness import derive
from dεps.core.schema import Images, checked
from dεps.core.stopwatch import computing
from dεps.core.tables import column
from dεps.data.augment import WHOLE, Part
from dεps.data.batches import Normalise, plain_batches
from dεps.data.config import AugmentConfig
from dεps.data.splits import PreparedData, Split
from dεps.evaluation import parallel
from dεps.evaluation.population import PopulationConfig
from dεps.evaluation.prefix_tree import Observer, PrefixTree, image_bytes, rank_of
from dεps.nets.batchnorm import recalibrate
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.pareto import mean_pareto_accuracy
from dεps.spaces.space import Arch, SearchSpace

#: images per batch for BN statistics, which do not depend on it
RECALIBRATION_BATCH = 200
#: number of training images for BN statistics, where nothing else is said
RECALIBRATION_IMAGES = 2000
#: value of `train.recalibrate_on` for augmented images, which the public code of OFA and DεpS uses
AUGMENTED = "augmented"
#: bytes of a batch's largest activation. A larger batch falls out of a CPU's caches, or fills a GPU, which keeps an
#: activation for each layer at which archs part; in a smaller one overhead prevails.
CPU_BATCH, GPU_BATCH = 2**25, 2**29


@dataclass(frozen=True)
class Recalibration:
    """The training images that BN statistics are computed from: at `indices` int64 (n,), augmented or plain."""

    indices: Tensor
    augment: AugmentConfig | None = None

    @classmethod
    def of(cls, train: Split, images: int, seed: int, augment: AugmentConfig | None = None) -> Recalibration:
        """Draw that many training images, the same for every arch and every epoch of a run."""
        generator = Generator().manual_seed(derive(seed, "recalibration"))
        return cls(torch.randperm(len(train), generator=generator)[:images], augment)

    def batches(self, data: PreparedData, size: int, device: torch.device) -> Iterator[Tensor]:
        """Yield them as float batches (batch, channels, size, size) on `device`, normalised."""
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

    They are `images`, by default `RECALIBRATION_IMAGES` random ones, resized to the resolution of `arch`, as
    everywhere that accuracy is measured.
    """
    images = images or Recalibration.of(data.train, RECALIBRATION_IMAGES, 0)
    check_fit(net, data)
    net.check_arch(arch)
    device = net.classifier.weight.device
    plain = extract(net, arch).eval()
    recalibrate(plain.body, images.batches(data, arch.resolution, device))
    return plain


def top1(net: Supernet, arch: Arch, data: PreparedData, split: Split, images: Recalibration) -> float:
    """Top-1 accuracy of one arch on `split` in percent; see `accuracies`."""
    return accuracies(net, [arch], data, [split], images)[0][0]


def accuracies(
    net: Supernet,
    archs: Sequence[Arch],
    data: PreparedData,
    splits: Sequence[Split],
    images: Recalibration | None = None,
    part: Part = WHOLE,
    top: int = 1,
) -> list[list[float]]:
    """Top-1 accuracy in percent of each arch (rows) on each split (columns), BN recalibrated once per arch.

    Archs that begin with the same layers are faster together, with the same results as alone.

    Args:
        net: the supernet that the archs are cut from.
        archs: any archs of its space; images are resized to the resolution of each.
        data: where training images for BN come from.
        splits: the images to measure on.
        images: training images for BN; default: `RECALIBRATION_IMAGES` random ones.
        part: this process's share of the images to measure on; every process gets the result over all of them.
        top: 5 for top-5: the label is among the five likeliest classes.

    Raises `UserError` where net, archs and data do not fit together.
    """
    images = images or Recalibration.of(data.train, RECALIBRATION_IMAGES, 0)

    def percent(own: Tensor, split: Split) -> float:
        return 100.0 * parallel.total(int((own < top).sum()), part) / len(split)

    return [[*map(percent, row, splits)] for row in ranks(net, archs, data, splits, images, part)]


def correct(
    net: Supernet, archs: Sequence[Arch], data: PreparedData, splits: Sequence[Split], images: Recalibration
) -> list[list[Tensor]]:
    """Whether each arch (rows) classifies each image of each split (columns) correctly: bool (images,) on the CPU."""
    return [[own == 0 for own in row] for row in ranks(net, archs, data, splits, images)]


def ranks(
    net: Supernet,
    archs: Sequence[Arch],
    data: PreparedData,
    splits: Sequence[Split],
    images: Recalibration,
    part: Part = WHOLE,
) -> list[list[Tensor]]:
    """How many classes each arch (rows) puts before an image's label, by split (columns): int16 (images,) on the CPU.

    With `part` only this process's share of the images, in their order. For the rest see `accuracies`.
    """
    return observe(net, archs, data, splits, images, rank_of, part)


@computing()
def observe(
    net: Supernet,
    archs: Sequence[Arch],
    data: PreparedData,
    splits: Sequence[Split],
    images: Recalibration,
    of: Observer,
    part: Part = WHOLE,
) -> list[list[Tensor]]:
    """What `of` says of the logits of each arch (rows) on each split (columns): (…, images) on the CPU; see `ranks`."""
    check_fit(net, data)
    for arch in archs:
        net.check_arch(arch)
    found: dict[Arch, list[Tensor]] = {}
    device = net.classifier.weight.device
    batch = evaluation_batch(net.space, data.channels, device)
    for size in sorted({arch.resolution for arch in archs}):
        own = list(dict.fromkeys(arch for arch in archs if arch.resolution == size))
        tree = PrefixTree(net, own)
        tree.recalibrate(images.batches(data, size, device), RECALIBRATION_BATCH)
        by_split = []
        for split in splits:
            batches = plain_batches(
                split,
                Normalise.of(data, device),
                batch_size=batch,
                indices=_share(len(split), batch, part),
                workers=data.workers,
                size=size,
            )
            by_split.append(tree.observe(batches, batch, of))
        found |= {arch: list(row) for arch, row in zip(own, zip(*by_split, strict=True), strict=True)}
    return [found[arch] for arch in archs]


def check_fit(net: Supernet, data: PreparedData, name: str = "the supernet") -> None:
    """Raise `UserError` where the data has other classes or channels than the supernet, which is called `name`."""
    channels = "input channels", net.channels, data.channels
    for what, own, there in (("classes", net.classes, len(data.classes)), channels):
        if own != there:
            raise UserError(f"{name} has {own} {what}, the data {data.folder} has {there}; expected the same")


def evaluation_batch(space: SearchSpace, channels: int, device: torch.device) -> int:
    """Images per batch, the same for all archs of a space."""
    budget = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    return min(500, max(16, budget // image_bytes(space, [space.largest()], channels)))


def _share(images: int, batch: int, part: Part) -> Tensor | None:
    """Indices int64 of this process's images; None: all.

    Shares are whole batches, so that an image is in the same batch however many processes there are.
    """
    if part.count == 1:
        return None
    batches = torch.arange(images).split(batch)[part.number :: part.count]
    return torch.cat(batches) if batches else torch.arange(0)


def named_archs(choices: SearchSpace) -> dict[str, Arch]:
    """Pareto points by name, then the arch with the smallest of every choice, where that is none of them."""
    return {**choices.pareto_archs(), **choices.least()}


def measured(
    net: Supernet, archs: Sequence[Arch], data: PreparedData, splits: dict[str, Split], images: Recalibration
) -> list[dict[str, Any]]:
    """One table row per arch: arch (text), macs, params, `<split>_top1` and `<split>_top5` in percent for each split.

    There is no top-5 of five classes or fewer.
    """
    tops, rows = ([1, 5] if net.classes > 5 else [1]), []
    for arch, found in zip(archs, ranks(net, archs, data, list(splits.values()), images), strict=True):
        cost = arch_cost(net.space, arch, net.classes, net.channels)
        row = {"arch": str(arch), "macs": cost.macs, "params": cost.params}
        for top in tops:
            shares = [100.0 * int((own < top).sum()) / len(own) for own in found]
            row |= {f"{name}_top{top}": round(share, 4) for name, share in zip(splits, shares, strict=True)}
        rows.append(row)
    return rows


def pareto_metrics(points: pd.DataFrame, name: str) -> dict[str, float]:
    """Mean Pareto accuracy, and the top-1 of the first and the last point, from column `name` in percent."""
    top1 = column(points, name).tolist()
    mean = mean_pareto_accuracy(column(points, "macs").tolist(), top1)
    return {"mean": round(mean, 4), "smallest": round(float(top1[0]), 4), "largest": round(float(top1[-1]), 4)}


@checked
class EvaluateConfig:
    """The `evaluate` section of an experiment."""

    #: training images for BN recalibration
    recalibration_images: Images = RECALIBRATION_IMAGES
    #: random archs, measured on test for the report and on validation for the predictor
    population: PopulationConfig = field(default_factory=PopulationConfig)
