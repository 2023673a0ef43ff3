"""Quantises ONNX models to int8 with ONNX Runtime's own quantiser: statically, QDQ, weights per channel."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor

from dεps.core.device import threads
from dεps.core.stopwatch import computing
from dεps.deploy.onnx.graph import INPUT

#: how files are quantised, in words
HOW = "int8: static, QDQ, weights per channel in 7 bits, activations uint8 by their extremes"


@computing()
def quantised(model: onnx.ModelProto, images: Iterable[Tensor]) -> onnx.ModelProto:
    """The same graph with weights and activations in 8 bits; `model` is left as it is, its metadata are not copied.

    Args:
        model: a float graph of `dεps.deploy.onnx.graph`, BN folded.
        images: float batches as the model takes them; the range of each activation is that which they reach.

    The same model and images give the same bytes.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet(), threads(1):
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(model.SerializeToString())  # of a model in memory the quantiser moves the weights away
        quantize_static(
            before,
            after,
            _Images(images),
            QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # On processors without VNNI two products of 8 bits overflow what their sum is kept in, without a word.
            reduce_range=True,
        )
        made = onnx.load(after)
    del made.metadata_props[:]
    onnx.checker.check_model(made)
    return made


class _Images(CalibrationDataReader):
    def __init__(self, images: Iterable[Tensor]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride] - untyped
        batch = next(self.images, None)
        return None if batch is None else {INPUT: batch.cpu().contiguous().numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to optimise the graph first: BN is folded already, which is what counts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
