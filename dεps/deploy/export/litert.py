"""Exported subnets as LiteRT files (.tflite), for phones and microcontrollers; needs the extra `litert`.

The card is in a zip after the model, where TensorFlow Lite's own metadata tools put associated files: readers of the
model don't see it, and `unzip` reads it.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dεps.core.errors import UserError, reason
from dεps.deploy.export.card import ModelCard
from dεps.deploy.onnx.file import Batches, Comparison, kept_if_same
from dεps.deploy.onnx.session import read_content

CARD = "card.json"
_NEEDS = "a .tflite file needs the package {}; run: pip install 'deps-workbench[litert]'"


def save_litert(net: nn.Module, card: ModelCard, path: Path, images: Batches) -> Comparison:
    """Write the plain network with its card, for one image a call; compared, and kept or refused, as `kept_if_same`.

    Raises `UserError` where the converter is not installed.
    """
    try:
        with _quiet():
            import litert_torch  # pyright: ignore[reportMissingImports] - an extra
    except ImportError:
        raise UserError(_NEEDS.format("litert-torch")) from None

    def write(temporary: Path) -> nn.Module:
        with _quiet():
            litert_torch.convert(net.cpu().eval(), (torch.zeros(1, *card.shape),)).export(str(temporary))
        content = temporary.read_bytes() + _zipped(json.dumps(card.to_texts(), ensure_ascii=False))
        temporary.write_bytes(content)
        return LiteRtModel(content, path)

    return kept_if_same(path, write, net, images, "LiteRT")


def load_litert(path: Path) -> tuple[LiteRtModel, ModelCard]:
    """The model in a file and its card. Raises `UserError` naming the file where it is none, or the package missing."""
    content = read_content(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts = json.loads(archive.read(CARD))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError, RuntimeError):
        raise UserError(f"{path} holds no {CARD}; expected a model that 'deps export' wrote") from None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise UserError(f"{path}: {CARD} is no mapping of texts; expected a model that 'deps export' wrote")
    card = ModelCard.from_texts(texts, path)
    return LiteRtModel(content, path), card


class LiteRtModel(nn.Module):
    """A model that LiteRT runs on one thread of the CPU, image by image."""

    def __init__(self, content: bytes, name: Path) -> None:
        """Read a file's content. Raises `UserError` naming the file where it is no model, or the package missing."""
        super().__init__()
        try:
            from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports] - an extra
        except ImportError:
            raise UserError(_NEEDS.format("ai-edge-litert")) from None
        try:
            self.interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self.interpreter.allocate_tensors()
            (self.input,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        except Exception as error:  # of a file that others have made
            raise UserError(f"{name} is no readable LiteRT model ({reason(error)}); export it again") from None

    def forward(self, images: Tensor) -> Tensor:
        """Logits float32 (batch, classes) of float32 images (batch, channels, side, side)."""
        found = []
        for image in images.contiguous().numpy():
            self.interpreter.set_tensor(self.input["index"], image[None])
            self.interpreter.invoke()
            found.append(self.interpreter.get_tensor(self.output["index"]))
        return torch.from_numpy(np.concatenate(found))


def _zipped(text: str) -> bytes:
    """A zip with the card, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(CARD), text)
    return buffer.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's own progress, which it prints and logs, from the reader."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
