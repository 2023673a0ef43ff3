"""Batches with augmentation, on whole tensors.

Order and augmentation are functions of (seed, epoch, step) alone, so any batch of any epoch can be made without the
ones before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from dεps.data.splits import PreparedData, Split
from dεps.errors import UserError
from dεps.randomness import derive


@dataclass
class AugmentConfig:
    """Augmentation of training images."""

    #: mirror half of the images
    flip: bool = True
    #: random crop after reflecting this many pixels at each border; 0: none
    crop_padding: int = 4

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if not 0 <= self.crop_padding <= 64:
            raise UserError(f"{where}.crop_padding is {self.crop_padding}; expected 0 to 64 pixels")


@dataclass(frozen=True)
class Normalise:
    """uint8 (batch, height, width, channels) to float32 (batch, channels, height, width) in channels_last."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, data: PreparedData) -> Normalise:
        """With the mean and standard deviation of the training split."""
        return cls(torch.tensor(data.manifest["mean"]), torch.tensor(data.manifest["std"]))

    def __call__(self, pixels: Tensor) -> Tensor:
        scale = 1.0 / (255.0 * self.std)
        return pixels.float().mul_(scale).sub_(self.mean / self.std).permute(0, 3, 1, 2)


def augment(pixels: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Flip and shift each image of uint8 (batch, height, width, channels) on its own, in one gather."""
    batch, height, width, _ = pixels.shape
    pad = config.crop_padding
    shifts = torch.randint(0, 2 * pad + 1, (2, batch, 1), generator=generator) - pad
    flips = torch.rand((batch, 1), generator=generator) < 0.5
    rows = _reflect(torch.arange(height) + shifts[0], height)
    columns = _reflect(torch.arange(width) + shifts[1], width)
    if config.flip:
        columns = torch.where(flips, columns.flip(1), columns)
    return pixels[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Whole batches in one epoch; the last images of the shuffled order are left out."""
    return len(split) // batch_size


def training_batches(
    split: Split,
    normalise: Normalise,
    config: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches (images, labels) of one epoch from step `start` on."""
    generator = Generator().manual_seed(derive(seed, "order", epoch))
    order = torch.randperm(len(split), generator=generator)
    steps = steps_per_epoch(split, batch_size)
    chunks = order[: steps * batch_size].view(steps, batch_size)[start:]
    for step, (pixels, labels) in enumerate(_read(split, list(chunks), workers), start):
        generator = Generator().manual_seed(derive(seed, "augment", epoch, step))
        yield normalise(augment(pixels, config, generator)), labels


def plain_batches(
    split: Split, normalise: Normalise, *, batch_size: int, indices: Tensor | None = None, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (images, labels) in a fixed order without augmentation; all images or those at `indices`."""
    indices = torch.arange(len(split)) if indices is None else indices
    for pixels, labels in _read(split, list(indices.split(batch_size)), workers):
        yield normalise(pixels), labels


class _Batches(Dataset):
    def __init__(self, split: Split, chunks: list[Tensor]) -> None:
        self.split, self.chunks = split, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> Tensor:
        return self.split.read(self.chunks[index])


def _read(split: Split, chunks: list[Tensor], workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels and labels of each chunk; files are decoded by worker processes ahead of their use."""
    if split.images is None and workers > 0:
        pixels = DataLoader(_Batches(split, chunks), batch_size=None, num_workers=workers, prefetch_factor=4)
    else:
        pixels = (split.read(chunk) for chunk in chunks)
    for chunk, batch in zip(chunks, pixels, strict=True):
        yield batch, split.labels[chunk]
