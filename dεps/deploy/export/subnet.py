"""One subnet on its way out: its card, and the images on which its file is compared with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.hashing import digest
from dεps.data.batches import Normalise, plain_batches
from dεps.data.splits import PreparedData, Split
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.formats import SUFFIXES, save_model
from dεps.deploy.onnx.file import Comparison
from dεps.evaluation.accuracy import Recalibration, accuracies, evaluation_batch, recalibrated
from dεps.evaluation.noise import standard_error
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch


def save_subnet(
    net: Supernet,
    arch: Arch,
    data: PreparedData,
    path: Path | str,
    images: Recalibration | None = None,
    *,
    method: str = "supernet",
    seed: int = 0,
) -> Comparison:
    """Write the subnet `arch`, BN recalibrated, as a file to take away: .onnx, .safetensors, .pt2 or .tflite (LiteRT).

    It holds class names and preprocessing, so that `deps classify` needs nothing else, its accuracy on validation, and
    the method and seed that trained the supernet. The path's suffix decides the format; `images` are those for BN, as
    in `recalibrated`. Raises `UserError`, and leaves no file, where it computes something else than PyTorch on the
    validation images.
    """
    path, formats = Path(path), {suffix: name for name, suffix in SUFFIXES.items()}
    if path.suffix not in formats:
        raise UserError(f"{path} has no suffix of a format; expected a file name that ends in {', '.join(formats)}")
    ((top1,),) = accuracies(net, [arch], data, [data.validation], images)
    card = card_of(net, data, arch, round(top1, 4), None, experiment=data.manifest["name"], method=method, seed=seed)
    batches = comparison_batches(net, data, data.validation, arch, len(data.validation))
    return save_model(formats[path.suffix], recalibrated(net, arch, data, images), net.space, card, path, batches)


def card_of(
    net: Supernet,
    data: PreparedData,
    arch: Arch,
    val_top1: float | None,
    test_top1: float | None,
    *,
    experiment: str,
    method: str,
    seed: int,
    finetuned: str | None = None,
) -> ModelCard:
    """What the exported `arch` of a supernet says of itself; accuracies in percent."""
    manifest, cost = data.manifest, arch_cost(net.space, arch, net.classes, net.channels)
    return ModelCard(
        experiment=experiment,
        method=method,
        seed=seed,
        space=net.space.name,
        arch=str(arch),
        classes=data.classes,
        channels=data.channels,
        resolution=arch.resolution,
        **{key: manifest[key] for key in ("size", "crop", "mean", "std")},
        macs=cost.macs,
        params=cost.params,
        data=manifest["name"],
        data_hash=digest(manifest["sha256"]),
        val_top1=val_top1,
        test_top1=test_top1,
        **_certainty("val", val_top1, len(data.validation)),
        **_certainty("test", test_top1, manifest["images"]["test"]),
        finetuned=finetuned,
    )


def _certainty(split: str, top1: float | None, images: int) -> dict[str, Any]:
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
