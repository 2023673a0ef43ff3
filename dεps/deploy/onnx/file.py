"""Writes ONNX files, and compares each with PyTorch right after it was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime import InferenceSession
from torch import Tensor, nn

from dεps.core.errors import UserError
from dεps.core.files import replace_atomic
from dεps.core.stopwatch import computing
from dεps.deploy.export.card import ModelCard
from dεps.deploy.onnx.graph import INPUT, to_onnx
from dεps.deploy.onnx.session import open_session

#: largest difference between two logits of the same image, where logits are up to 10; in proportion where larger
TOLERANCE = 1e-4


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
        """Plain data."""
        return asdict(self)


def save_onnx(net: nn.Module, card: ModelCard, path: Path, images: Iterable[tuple[Tensor, Tensor]]) -> Comparison:
    """Write the plain network with its card, and compare the file with PyTorch on batches of (images, labels).

    The same network and card give the same bytes. Raises `UserError`, and leaves no file, where the two differ.
    """
    model = to_onnx(net, card.shape)
    for key, text in card.to_texts().items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    model.doc_string = f"{card.experiment} {card.method}-{card.seed}: {card.arch}"
    found: list[Comparison] = []

    def write(temporary: Path) -> None:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        found.append(compare(net, open_session(temporary), images))
        if not found[0].same:
            raise UserError(f"{path} was not kept: {mismatch(found[0], 'ONNX Runtime')}")

    replace_atomic(path, write)
    return found[0]


def mismatch(comparison: Comparison, runtime: str) -> str:
    """How two runtimes differ, in words."""
    return (
        f"{runtime} and PyTorch differ by {comparison.max_logit_difference:.1e} in a logit (allowed: "
        f"{comparison.tolerance:.0e}) and in the top-1 of {comparison.different_top1} of {comparison.images} images"
    )


@computing()
@torch.no_grad()
def compare(
    net: nn.Module, session: InferenceSession | nn.Module, images: Iterable[tuple[Tensor, Tensor]]
) -> Comparison:
    """Compare `net` with another model on batches of (images, labels), each run by one thread of the CPU."""
    own, other, labels = [], [], []
    net = net.cpu().eval()
    with _one_thread():
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread inside, so that the last bits of a logit do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
