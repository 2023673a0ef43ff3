"""Batches of images: shuffled and augmented for training, or plain and in order for measuring.

Order and augmentation are functions of (seed, epoch, step) alone, so a killed training resumes with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from dεps.core.errors import UserError
from dεps.core.randomness import derive
from dεps.data.augment import WHOLE, Augmentation, Part, mix, resize
from dεps.data.config import AugmentConfig
from dεps.data.splits import PreparedData, Split

#: roughly how much memory batches may take that workers have prepared ahead, beyond one batch per worker
PREFETCH_BYTES = 2**30


@dataclass(frozen=True)
class Normalise:
    """Turn pixels uint8 (batch, height, width, channels) into float32 (batch, channels, height, width), channels_last.

    The arithmetic is done on the device of `mean` and `std` (channels,): bytes travel to a GPU, a quarter of floats.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, data: PreparedData, device: torch.device | str = "cpu") -> Normalise:
        """Normalise by the mean and standard deviation of the training split, on `device`."""
        return cls(*(torch.tensor(data.manifest[key], device=device) for key in ("mean", "std")))

    def __call__(self, pixels: Tensor) -> Tensor:
        count, height, width, _ = pixels.shape
        if self.mean.is_cuda:  # pinned memory, or Python would wait for everything the GPU still has to do
            pixels = pixels.pin_memory().to(self.mean.device, non_blocking=True)
        # Broadcast over whole images: a pixel's three values are too few for vectorised arithmetic.
        scale = (1.0 / (255.0 * self.std)).repeat(height * width)
        shift = (self.mean / self.std).repeat(height * width)
        images = pixels.reshape(count, -1).float().mul_(scale).sub_(shift)
        return images.view(count, height, width, -1).permute(0, 3, 1, 2)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of whole batches in an epoch; the last images of the shuffled order are left out."""
    return images // batch_size


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
    size: int | Sequence[int] | None = None,
    part: Part = WHOLE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the shuffled, augmented batches (images, labels) of one epoch, from step `start` on.

    Images are float (batch, channels, size, size); `size` is one side in pixels, or one per step, by default the
    data's own. Labels are int64 (batch,), or with mixup or CutMix probabilities, float (batch, classes). With `part`,
    only that part of each batch is made; `batch_size` counts the whole batch.
    """
    generator = Generator().manual_seed(derive(seed, "order", epoch))
    order = torch.randperm(len(split), generator=generator)
    steps = steps_per_epoch(len(split), batch_size)
    chunks = list(order[: steps * batch_size].view(steps, part.count, -1)[start:, part.number])
    sizes = size if isinstance(size, Sequence) else [size or split.size] * steps
    augmentation = Augmentation(config, sizes, normalise.mean.cpu(), seed, epoch, part)
    for step, (pixels, labels) in enumerate(_augmented(split, chunks, workers, augmentation, start), start):
        images = normalise(pixels)
        if config.mixes:
            images, labels = mix(images, labels, config, split.classes, seed=seed, epoch=epoch, step=step)
        yield images, labels


def plain_batches(
    split: Split,
    normalise: Normalise,
    *,
    batch_size: int,
    indices: Tensor | None = None,
    workers: int = 0,
    size: int | None = None,
    augment: AugmentConfig | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches (images, labels) in a fixed order: all images, or those at `indices` int64 (n,).

    Images are float (batch, channels, size, size), `size` by default the data's own. With `augment` they are augmented,
    though never mixed, and the same way in every call.
    """
    indices = torch.arange(len(split)) if indices is None else indices
    chunks = [chunk for chunk in indices.split(batch_size) if len(chunk)]
    if augment is None:
        for pixels, labels in _read(split, chunks, workers):
            yield normalise(resize(pixels, size or split.size)), labels
        return
    sizes = [size or split.size] * len(chunks)
    augmentation = Augmentation(augment, sizes, normalise.mean.cpu(), derive(0, "plain batches"), 0)
    for pixels, labels in _augmented(split, chunks, workers, augmentation):
        yield normalise(pixels), labels


class _Batches(Dataset):
    """Pixels of each chunk of indices. The chunks' steps count from `start`, and decide how they are augmented."""

    def __init__(self, split: Split, chunks: list[Tensor], augmentation: Augmentation | None, start: int) -> None:
        self.split, self.chunks, self.augmentation, self.start = split, chunks, augmentation, start

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> Tensor | UserError:
        try:
            if self.augmentation is None:
                return self.split.read(self.chunks[index])
            return self.augmentation.read(self.split, self.chunks[index], self.start + index)
        except UserError as error:
            return error  # `_read` raises it: a DataLoader would bury it in a traceback


def _augmented(
    split: Split, chunks: list[Tensor], workers: int, augmentation: Augmentation, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """As `_read`, augmented: image by image where they are read, or else whole batches here."""
    early = augmentation if augmentation.config.per_image else None
    for step, (pixels, labels) in enumerate(_read(split, chunks, workers, early, start), start):
        yield pixels if early else augmentation.batch(pixels, step), labels


def _read(
    split: Split, chunks: list[Tensor], workers: int, augmentation: Augmentation | None = None, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pixels and labels of each chunk. Worker processes decode files and augment single images ahead of time."""
    batches = _Batches(split, chunks, augmentation, start)
    if workers > 0 and (split.images is None or augmentation is not None):
        size = max(augmentation.sizes) if augmentation else split.size
        bytes_ahead = workers * max(map(len, chunks), default=1) * size**2 * split.channels
        ahead = max(1, min(4, PREFETCH_BYTES // bytes_ahead))
        # With a generator of its own, or it would draw from torch's global one.
        pixels = DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=ahead, generator=Generator())
    else:
        pixels = (batches[index] for index in range(len(chunks)))
    for chunk, batch in zip(chunks, pixels, strict=True):
        if isinstance(batch, UserError):
            raise batch
        yield batch, split.labels[chunk]
