"""`deps classify`: what an exported model says of images. Needs nothing but its file; for ONNX no torch either."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import softmax

from dεps.core.errors import UserError, reason
from dεps.data.folder import EXTENSIONS, ImageFolder, to_picture
from dεps.deploy.export.card import ModelCard

BATCH = 64
#: input float32 (batch, channels, side, side) to logits (batch, classes)
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Guess:
    """One image's most probable classes with their probabilities, the best first."""

    image: str
    top: tuple[tuple[str, float], ...]


def classify(model: Path, paths: Sequence[Path], top: int) -> Iterator[Guess]:
    """The `top` classes of each image, of all in a folder. Raises `UserError` naming what cannot be used."""
    images = list(_images(paths))
    run, card = load(model)
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        logits = run(np.stack([model_input(path, card) for path in some]))
        if logits.shape != (len(some), len(card.classes)) or not np.isfinite(logits).all():
            shape = "×".join(map(str, logits.shape))
            raise UserError(f"{model} gives {shape} numbers; expected {len(some)}×{len(card.classes)} finite ones")
        for path, row in zip(some, softmax(logits.astype(np.float64), axis=1), strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            yield Guess(str(path), tuple((card.classes[n], round(float(row[n]), 6)) for n in best))


def load(path: Path) -> tuple[Run, ModelCard]:
    """A model and its card. Raises `UserError` naming the file where it cannot be used."""
    if path.suffix == ".safetensors":
        import torch

        from dεps.deploy.export.formats import load_model

        net, card = load_model(path)
        return torch.inference_mode()(lambda images: net(torch.from_numpy(images)).numpy()), card
    if path.suffix == ".tflite":
        import torch

        from dεps.deploy.export.litert import load_litert

        model, card = load_litert(path)
        return lambda images: model(torch.from_numpy(images)).numpy(), card
    if path.suffix == ".pt2":
        raise UserError(f"{path}: opening a .pt2 can run code in it; expected .onnx, .safetensors or .tflite")
    from dεps.deploy.onnx.check import read_model
    from dεps.deploy.onnx.session import open_session

    content, name, card = read_model(path)
    session = open_session(content, name=path)

    def run(images: np.ndarray) -> np.ndarray:
        try:
            logits = session.run(None, {name: images})[0]
            return np.asarray(logits, np.float32)
        except Exception as error:  # of a file that others have made
            raise UserError(f"{path} cannot be run ({reason(error)}); export it again") from None

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
        pixels = np.asarray(to_picture(pixels).resize((side, side), Image.Resampling.BILINEAR))
        pixels = pixels.reshape(side, side, card.channels)
    mean, std = (np.asarray(values, np.float32) for values in (card.mean, card.std))
    # In the order in which training computes it.
    images = pixels.astype(np.float32) * (1 / (np.float32(255) * std)) - mean / std
    return np.ascontiguousarray(images.transpose(2, 0, 1))


def to_json(guesses: Iterable[Guess]) -> str:
    """As a JSON list, an object an image."""
    tops = [(guess.image, [{"class": name, "probability": value} for name, value in guess.top]) for guess in guesses]
    return json.dumps([{"image": image, "top": top} for image, top in tops], indent=1, ensure_ascii=False)
