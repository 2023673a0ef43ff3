"""One subnet on its way out: its card, and the images on which its file is compared with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dεps.core.hashing import digest
from dεps.data.batches import Normalise, plain_batches
from dεps.data.splits import PreparedData, Split
from dεps.deploy.export.card import ModelCard
from dεps.evaluation.accuracy import evaluation_batch
from dεps.evaluation.noise import standard_error
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch
from dεps.workspace.stage import Context


def card_of(
    context: Context, net: Supernet, data: PreparedData, arch: Arch, val_top1: float | None, test_top1: float | None
) -> ModelCard:
    """What the exported `arch` of the supernet of `context` says of itself; accuracies in percent."""
    manifest, cost = data.manifest, arch_cost(net.space, arch, net.classes, net.channels)
    return ModelCard(
        experiment=context.experiment,
        method=context.method,
        seed=context.seed,
        space=net.space.name,
        arch=str(arch),
        classes=data.classes,
        channels=data.channels,
        size=manifest["size"],
        crop=manifest["crop"],
        resolution=arch.resolution,
        mean=manifest["mean"],
        std=manifest["std"],
        macs=cost.macs,
        params=cost.params,
        data=manifest["name"],
        data_hash=digest(manifest["sha256"]),
        val_top1=val_top1,
        test_top1=test_top1,
        **_certainty("val", val_top1, len(data.validation)),
        **_certainty("test", test_top1, manifest["images"]["test"]),
    )


def _certainty(split: str, top1: float | None, images: int) -> dict[str, float | int]:
    if top1 is None:
        return {}
    return {f"{split}_std_error": standard_error(top1, images), f"{split}_images": images}


def comparison_batches(
    net: Supernet, data: PreparedData, split: Split, arch: Arch, images: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (images, labels) of the first so many of the split, at the resolution of `arch`."""
    return plain_batches(
        split,
        Normalise.of(data),
        batch_size=evaluation_batch(net.space, data.channels, torch.device("cpu")),
        indices=torch.arange(min(len(split), images)),
        workers=data.workers,
        size=arch.resolution,
    )
