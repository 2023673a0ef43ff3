"""What exported subnets get right and wrong, class by class, and images of it. Nothing is chosen by any of it.

Numbers are of validation and test, as everywhere. Images are of validation: who looks at wrong answers looks for a
cure, and test images are not for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from dεps.core.files import replace_atomic
from dεps.core.tensors import save_tensors
from dεps.data.splits import PreparedData, Split
from dεps.workspace.outputs import CLASSES, CONFUSION, EXAMPLES, PICTURES

#: images of each kind that are shown
SHOWN = 12
#: longest side of a picture in pixels
SIDE = 96


class Answers(NamedTuple):
    """A subnet's likeliest class of each image of a split, int (images,), and its probability (images,)."""

    classes: np.ndarray
    probabilities: np.ndarray


def write_classes(
    data: PreparedData, answers: Mapping[str, Sequence[Answers]], out: Path, pictured: str | None = None
) -> None:
    """Write `classes.csv`, `confusion.csv`, `examples.csv` and their pictures.

    Args:
        data: whose validation and test images were answered.
        answers: of each exported subnet by its budget, on validation and on test.
        out: folder that is written to.
        pictured: budget whose right and wrong images are shown; default: the last.
    """
    names, splits = data.classes, (data.validation, data.test)
    rows, confused = [], []
    counts = {split: data.manifest["per_class"].get(split, [0] * len(names)) for split in data.manifest["images"]}
    for budget, both in answers.items():
        top1s = [
            class_top1(split.labels.numpy(), own.classes, len(names)) for split, own in zip(splits, both, strict=True)
        ]
        for number, name in enumerate(names):
            shares = {f"{key}_top1": top1[number] for key, top1 in zip(("val", "test"), top1s, strict=True)}
            images = {split: counts[split][number] for split in counts}
            rows.append({"budget": budget, "class": name, **images, **shares})
        table = confusion(data.test.labels.numpy(), both[1].classes, len(names))
        confused += [
            {"budget": budget, "label": names[label], "answer": names[answer], "images": int(table[label, answer])}
            for label, answer in np.argwhere(table).tolist()
        ]
    CLASSES.write(pd.DataFrame(rows), out)
    CONFUSION.write(pd.DataFrame(confused), out)
    _write_examples(data.validation, answers[pictured or list(answers)[-1]][0], names, out)


def confusion(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Number int (classes, classes) of images of each label (rows) that were given each answer (columns)."""
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def class_top1(labels: np.ndarray, answers: np.ndarray, classes: int) -> list[float | None]:
    """Top-1 accuracy in percent of the images of each class; None of a class without images."""
    table = confusion(labels, answers, classes)
    right, images = table.diagonal().tolist(), table.sum(1).tolist()
    return [round(100 * one / count, 4) if count else None for one, count in zip(right, images, strict=True)]


def examples(labels: np.ndarray, answers: Answers) -> list[int]:
    """Numbers of up to `SHOWN` images that were wrong with the highest probability, then right with the lowest."""
    right = answers.classes == labels
    wrong = np.flatnonzero(~right)
    surest = wrong[np.argsort(-answers.probabilities[wrong], kind="stable")][:SHOWN]
    just = np.flatnonzero(right)
    just = just[np.argsort(answers.probabilities[just], kind="stable")][:SHOWN]
    return [*surest.tolist(), *just.tolist()]


def _write_examples(split: Split, answers: Answers, names: Sequence[str], out: Path) -> None:
    labels = split.labels.numpy()
    chosen = examples(labels, answers)
    rows = [
        {
            "image": number,
            "file": split.files[number] if split.files else None,
            "label": names[labels[number]],
            "answer": names[answers.classes[number]],
            "probability": round(float(answers.probabilities[number]), 4),
            "right": bool(labels[number] == answers.classes[number]),
        }
        for number in chosen
    ]
    EXAMPLES.write(pd.DataFrame(rows), out)
    pixels = split.read(torch.tensor(chosen))
    pictures = torch.stack([_small(one) for one in pixels])
    replace_atomic(out / PICTURES, lambda temporary: save_tensors({"pictures": pictures}, temporary))


def _small(pixels: torch.Tensor) -> torch.Tensor:
    """The same picture uint8 (height, width, channels), no side longer than `SIDE`."""
    height, width, channels = pixels.shape
    if max(height, width) <= SIDE:
        return pixels
    size = [max(1, round(side * SIDE / max(height, width))) for side in (width, height)]
    whole = Image.fromarray(pixels.squeeze(2).numpy() if channels == 1 else pixels.numpy())
    return torch.from_numpy(np.array(whole.resize((size[0], size[1])))).reshape(size[1], size[0], channels)
