"""Writes ONNX files, and compares each with PyTorch right after it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime import InferenceSession
from torch import Tensor, nn

from dεps.core.device import threads
from dεps.core.errors import UserError
from dεps.core.files import replace_atomic
from dεps.core.stopwatch import computing
from dεps.deploy.export.card import ModelCard
from dεps.deploy.onnx.graph import INPUT, to_onnx
from dεps.deploy.onnx.session import open_session

#: largest difference between two logits of the same image, where logits are up to 10; in proportion where larger
TOLERANCE = 1e-4
#: of images and their labels
Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Comparison:
    """PyTorch against another runtime on the same images."""

    images: int
    torch_top1: float  # percent
    file_top1: float  # percent
    #: number of images with another top-1, ties within the tolerance aside
    different_top1: int
    max_logit_difference: float
    #: largest difference that was allowed
    tolerance: float

    @property
    def same(self) -> bool:
        """Whether both compute the same, within the tolerance."""
        return self.different_top1 == 0 and self.max_logit_difference <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def save_onnx(net: nn.Module, card: ModelCard, path: Path, images: Batches) -> Comparison:
    """Write the plain network with its card, the same bytes each time; compared, and kept or refused, as below."""
    model = to_onnx(net, card.shape)
    onnx.helper.set_model_props(model, card.to_texts())
    model.doc_string = f"{card.experiment} {card.method}-{card.seed}: {card.arch}"

    def write(temporary: Path) -> InferenceSession:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        return open_session(temporary)

    return kept_if_same(path, write, net, images, "ONNX Runtime")


def kept_if_same(
    path: Path, write: Callable[[Path], InferenceSession | nn.Module], net: nn.Module, images: Batches, other: str
) -> Comparison:
    """Let `write` make a file and open it again; compare what it opened, called `other`, with `net` on batches.

    Raises `UserError`, and leaves no file, where the two differ.
    """
    found: list[Comparison] = []

    def checked(temporary: Path) -> None:
        found.append(one := compare(net, write(temporary), images))
        if not one.same:
            how = f"by {one.max_logit_difference:.1e} in a logit (allowed: {one.tolerance:.0e})"
            which = f"{one.different_top1} of {one.images} images"
            raise UserError(f"{path} was not kept: {other} and PyTorch differ {how} and in the top-1 of {which}")

    replace_atomic(path, checked)
    return found[0]


@computing()
@torch.no_grad()
def compare(net: nn.Module, session: InferenceSession | nn.Module, images: Batches) -> Comparison:
    """Compare `net` with another model on batches, on one thread of the CPU, so that no logit depends on its cores."""
    own, other, labels = [], [], []
    net = net.cpu().eval()
    with threads(1):
        for batch, targets in images:
            batch = batch.cpu()
            own.append(net(batch).numpy())
            labels.append(targets.numpy())
            if isinstance(session, nn.Module):
                other.append(session(batch).numpy())
            else:
                other.append(session.run(None, {INPUT: batch.contiguous().numpy()})[0])
    return _comparison(np.concatenate(own), np.concatenate(other), np.concatenate(labels))


def _comparison(own: np.ndarray, other: np.ndarray, labels: np.ndarray) -> Comparison:
    finite = bool(np.isfinite(own).all() and np.isfinite(other).all())
    tolerance = TOLERANCE * max(1.0, float(np.abs(own).max()) / 10) if finite else TOLERANCE
    first, second = own.argmax(1), other.argmax(1)
    rows = np.arange(len(own))
    tie = own[rows, first] - own[rows, second] <= 2 * tolerance
    difference = float(np.abs(own - other).max()) if finite else float("inf")
    return Comparison(
        images=len(labels),
        torch_top1=round(100 * float((first == labels).mean()), 4),
        file_top1=round(100 * float((second == labels).mean()), 4),
        different_top1=int(((first != second) & ~tie).sum()),
        max_logit_difference=float(f"{difference:.3g}"),
        tolerance=float(f"{tolerance:.3g}"),
    )
