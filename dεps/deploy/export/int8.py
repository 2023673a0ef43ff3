"""Exported subnets in int8: their files, and what they lose against float on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from scipy.stats import kendalltau
from torch import nn

from dεps.core.device import threads
from dεps.core.files import replace_atomic
from dεps.core.stopwatch import computing
from dεps.data.splits import PreparedData, Split
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.subnet import comparison_batches
from dεps.deploy.onnx.graph import INPUT, to_onnx
from dεps.deploy.onnx.int8 import HOW, quantised
from dεps.deploy.onnx.session import open_session
from dεps.evaluation.accuracy import Recalibration
from dεps.evaluation.noise import Difference, difference, standard_error
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch


@dataclass(frozen=True)
class Quantised:
    """A subnet in int8."""

    model: onnx.ModelProto
    #: of each split, bool (images,): which images are given their label
    right: list[np.ndarray]

    @property
    def top1(self) -> list[float]:
        """In percent, of each split."""
        return [round(100.0 * float(right.mean()), 4) for right in self.right]

    def against(self, float_right: Sequence[np.ndarray]) -> list[Difference]:
        """Int8 minus float, paired by image, of each split."""
        return [difference(own, other) for own, other in zip(self.right, float_right, strict=True)]


@computing()
def quantise(
    plain: nn.Module, net: Supernet, arch: Arch, data: PreparedData, splits: Sequence[Split], images: Recalibration
) -> Quantised:
    """Quantise a recalibrated subnet, and count what it gets right in ONNX Runtime on one thread.

    Args:
        plain: the subnet `arch`, as `recalibrated` gives it.
        net: the supernet that it is cut from.
        arch: of its space.
        data: whose training images set the ranges of activations: those that BN statistics are from.
        splits: images to measure on.
        images: which training images.
    """
    shape = data.channels, arch.resolution, arch.resolution
    model = quantised(to_onnx(plain, shape), images.batches(data, arch.resolution, torch.device("cpu")))
    session, right = open_session(model.SerializeToString()), []
    with threads(1):
        for split in splits:
            batches = comparison_batches(net, data, split, arch, len(split))
            answers = [
                np.asarray(session.run(None, {INPUT: batch.contiguous().numpy()})[0]).argmax(1) == labels.numpy()
                for batch, labels in batches
            ]
            right.append(np.concatenate(answers))
    return Quantised(model, right)


def save_int8(own: Quantised, card: ModelCard, path: Path) -> ModelCard:
    """Write the file with a card of its own, which is returned: that of the float one with int8's accuracies.

    `own` was measured on validation, and on test too where the float one was.
    """
    numbers: dict[str, Any] = {"quantised": HOW}
    for split, top1, right in zip(("val", "test"), own.top1, own.right, strict=False):
        numbers |= {f"{split}_top1": top1, f"{split}_std_error": standard_error(top1, len(right))}
        numbers |= {f"{split}_images": len(right)}
    if len(own.right) == 1:
        numbers |= {"test_top1": None, "test_std_error": None, "test_images": None}
    card, model = replace(card, **numbers), onnx.ModelProto()
    model.CopyFrom(own.model)
    onnx.helper.set_model_props(model, card.to_texts())
    model.doc_string = f"{card.experiment} {card.method}-{card.seed}: {card.arch}, int8"
    content = model.SerializeToString(deterministic=True)
    replace_atomic(path, lambda temporary: temporary.write_bytes(content))
    return card


def ranking(float_top1: dict[str, float], int8_top1: dict[str, float], macs: dict[str, int]) -> dict[str, Any]:
    """Whether int8 ranks archs as float does: their number, Kendall's τ (None where undefined), and int8's best.

    Percent by arch on validation, measured both ways; of equals the arch of the fewest MACs is the best.
    """
    archs = list(int8_top1)
    both = [[values[arch] for arch in archs] for values in (float_top1, int8_top1)]
    defined = len(archs) > 1 and all(len(set(values)) > 1 for values in both)
    tau = round(cast(float, kendalltau(*both)[0]), 4) if defined else None
    best = min(archs, key=lambda arch: (-int8_top1[arch], macs[arch], arch))
    return {"archs": len(archs), "kendall_tau": tau, "best": best, "best_val_top1": int8_top1[best]}
