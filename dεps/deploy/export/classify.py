"""`deps classify`: what an exported model says of images. Needs nothing but its file; for ONNX no torch either."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dεps.core.errors import UserError
from dεps.data.folder import EXTENSIONS, ImageFolder, to_picture
from dεps.deploy.export.card import ModelCard

BATCH = 64
#: input float32 (batch, channels, side, side) to logits (batch, classes)
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Guess:
    """One image's most probable classes, the best first."""

    image: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def classify(model: Path, paths: Sequence[Path], top: int) -> Iterator[Guess]:
    """The `top` classes of each image; a folder stands for all images in it.

    Raises `UserError` naming the model or image that cannot be used.
    """
    images = list(_images(paths))
    run, card = load(model)
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        logits = run(np.stack([model_input(path, card) for path in some]))
        if logits.shape != (len(some), len(card.classes)) or not np.isfinite(logits).all():
            shape = "×".join(map(str, logits.shape))
            raise UserError(f"{model} gives {shape} numbers; expected {len(some)}×{len(card.classes)} finite ones")
        for path, row in zip(some, softmax(logits), strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            yield Guess(str(path), tuple(card.classes[n] for n in best), tuple(round(float(row[n]), 6) for n in best))


def load(path: Path) -> tuple[Run, ModelCard]:
    """A model and its card. Raises `UserError` naming the file where it cannot be used."""
    if path.suffix == ".safetensors":
        return _load_torch(path)
    if path.suffix == ".pt2":
        raise UserError(f"{path}: opening a .pt2 can run code in it; expected .onnx or .safetensors")
    from dεps.deploy.onnx.check import read_model
    from dεps.deploy.onnx.session import open_session

    content, name, card = read_model(path)
    session = open_session(content, name=path)

    def run(images: np.ndarray) -> np.ndarray:
        try:
            logits = session.run(None, {name: images})[0]
            return np.asarray(logits, np.float32)
        except Exception as error:  # of a file that others have made
            raise UserError(f"{path} cannot be run ({' '.join(str(error).split())[:200]}); export it again") from None

    return run, card


def _load_torch(path: Path) -> tuple[Run, ModelCard]:
    import torch

    from dεps.deploy.export.formats import load_model

    net, card = load_model(path)

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(images)).numpy()

    return run, card


def _images(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        images, _, others = ImageFolder(path).contents
        if others:
            raise UserError(f"{path}: '{others[0]}' is no image that can be read; name the images, or remove it")
        if not images:
            raise UserError(f"{path} holds no image; expected files that end in {', '.join(EXTENSIONS)}")
        yield from (path / name for name in images)


def model_input(path: Path, card: ModelCard) -> np.ndarray:
    """An image file as float32 (channels, side, side), as the card's `preprocessing` says.

    Colour becomes grey, and grey RGB, as the model needs it. Raises `UserError` naming the file.
    """
    if not path.is_file():
        what = "is no regular file" if path.exists() else "does not exist"
        raise UserError(f"{path} {what}; expected an image file, or a folder of them")
    pixels = ImageFolder(path.parent, card.crop).read(path.name, card.size, card.channels)
    if card.resolution != card.size:
        side = card.resolution
        resized = to_picture(pixels).resize((side, side), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized).reshape(side, side, card.channels)
    mean, std = (np.asarray(values, np.float32) for values in (card.mean, card.std))
    # In the order in which training computes it.
    images = pixels.astype(np.float32) * (1 / (np.float32(255) * std)) - mean / std
    return np.ascontiguousarray(images.transpose(2, 0, 1))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def to_json(guesses: Sequence[Guess]) -> str:
    """As a JSON list, an object an image."""
    rows = [
        {
            "image": guess.image,
            "top": [
                {"class": name, "probability": value}
                for name, value in zip(guess.classes, guess.probabilities, strict=True)
            ],
        }
        for guess in guesses
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)
