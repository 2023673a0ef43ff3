"""Augment training images: flips and reflected crops in one gather a batch, all else by torchvision, image by image.

torchvision draws from torch's global generator, so that generator is seeded for each image and put back afterwards: the
result depends on (seed, epoch, step, position in the batch) and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from dεps.core.randomness import derive
from dεps.data.config import AugmentConfig
from dεps.data.folder import to_picture
from dεps.data.splits import Split

#: aspect ratios of a random resized crop (Szegedy et al., arXiv 1409.4842, §6)
ASPECT = (3 / 4, 4 / 3)
#: the grey that AutoAugment fills in where an image has been moved away (arXiv 1805.09501, Appendix A)
FILL = 128


@dataclass(frozen=True)
class Part:
    """One process's share of every batch: number `number` of `count` equal parts."""

    number: int
    count: int


WHOLE = Part(0, 1)


def augment(pixels: Tensor, config: AugmentConfig, generator: Generator, part: Part = WHOLE) -> Tensor:
    """Flip and shift each image of uint8 (batch, height, width, channels), as within the batch it is `part` of."""
    batch, height, width, _ = pixels.shape
    own, total = slice(part.number * batch, (part.number + 1) * batch), part.count * batch
    pad = config.crop_padding
    shifts = torch.randint(0, 2 * pad + 1, (2, total, 1), generator=generator)[:, own] - pad
    flips = torch.rand((total, 1), generator=generator)[own] < 0.5
    rows = _reflect(torch.arange(height) + shifts[0], height)
    columns = _reflect(torch.arange(width) + shifts[1], width)
    if config.flip:
        columns = torch.where(flips, columns.flip(1), columns)
    # One index per pixel: gathering by three indices is several times slower in torch.
    index = (torch.arange(batch)[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]
    return pixels.reshape(-1, pixels.shape[-1]).index_select(0, index.view(-1)).view(pixels.shape)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize uint8 (batch, height, width, channels) to (batch, size, size, channels), bilinear with antialiasing."""
    if pixels.shape[1:3] == (size, size):
        return pixels
    from torchvision.transforms.v2 import functional

    resized = functional.resize(pixels.permute(0, 3, 1, 2), [size, size], antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()


#: of torch's CPU generator alone; torch.manual_seed would seed every device
_reseed = torch.default_generator.manual_seed


@dataclass(frozen=True)
class Augmentation:
    """Everything that is done to the pixels of one epoch's batches; picklable, so that worker processes can do it."""

    config: AugmentConfig
    #: side of the resulting images in pixels, one per step
    sizes: Sequence[int]
    #: mean colour (channels,), 1 = white, which fills erased rectangles
    mean: Tensor
    seed: int
    epoch: int
    part: Part = WHOLE

    def read(self, split: Split, indices: Tensor, step: int) -> Tensor:
        """Read the images at `indices` int64 (batch,) and augment them: uint8 (batch, size, size, channels)."""
        pixels = self._cropped(split, indices, step) if self.config.resized_crop > 0 else split.read(indices)
        pixels = self.batch(pixels, step)
        return pixels if self._transform is None else self._transformed(pixels, step, self._transform)

    def batch(self, pixels: Tensor, step: int) -> Tensor:
        """Flip and crop uint8 (batch, height, width, channels), then resize it to the step's size."""
        generator = Generator().manual_seed(derive(self.seed, "augment", self.epoch, step))
        return resize(augment(pixels, self.config, generator, self.part), self.sizes[step])

    def _cropped(self, split: Split, indices: Tensor, step: int) -> Tensor:
        from torchvision.transforms import v2

        size = self.sizes[step]
        crop = v2.RandomResizedCrop(size, scale=(self.config.resized_crop, 1.0), ratio=ASPECT, antialias=True)
        cropped = self._each("crop", crop, map(split.picture, indices.tolist()), len(indices), step)
        return torch.from_numpy(np.stack(cropped)).view(-1, size, size, split.channels)

    def _each(
        self, purpose: str, change: Callable[[Image.Image], Any], pictures: Iterable[Image.Image], count: int, step: int
    ) -> list[Any]:
        """Change each of `count` pictures, with torch's global generator seeded for it."""
        changed = []
        with torch.random.fork_rng(devices=[]):
            for position, picture in enumerate(pictures, self.part.number * count):
                _reseed(derive(self.seed, f"augment/{purpose}", self.epoch, step, position))
                changed.append(change(picture))
        return changed

    @cached_property
    def _transform(self) -> Callable[[Image.Image], Tensor] | None:
        """AutoAugment, colour jitter and erasing: a picture to uint8 (channels, size, size); None where all are off."""
        from torchvision.transforms import v2

        config, steps = self.config, []
        if config.auto_augment != "none":
            policy = v2.AutoAugmentPolicy(config.auto_augment)
            steps.append(v2.AutoAugment(policy, v2.InterpolationMode.BILINEAR, fill=FILL))
        if any(config.color_jitter):
            steps.append(v2.ColorJitter(*config.color_jitter))
        if config.random_erasing > 0:
            colour: Any = (self.mean * 255).round().tolist()  # torchvision takes a list, but does not say so
            steps += [v2.PILToTensor(), v2.RandomErasing(config.random_erasing, value=colour)]
        elif steps:
            steps.append(v2.PILToTensor())
        return v2.Compose(steps) if steps else None

    def _transformed(self, pixels: Tensor, step: int, transform: Callable[[Image.Image], Tensor]) -> Tensor:
        pictures = map(to_picture, pixels.numpy())
        images = self._each("transform", transform, pictures, len(pixels), step)
        return torch.stack(images).permute(0, 2, 3, 1).contiguous()


def mix(
    images: Tensor, labels: Tensor, config: AugmentConfig, classes: int, *, seed: int, epoch: int, step: int
) -> tuple[Tensor, Tensor]:
    """Mix each image with its neighbour in the batch, by mixup or CutMix; which of them, a draw per batch decides.

    Takes images float (batch, channels, height, width) and labels int64 (batch,). Returns images in channels_last and
    labels as probabilities, float (batch, classes), whose rows add up to 1.
    """
    from torchvision.transforms import v2

    given = ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix))
    choices = [kind(alpha=alpha, num_classes=classes) for kind, alpha in given if alpha > 0]
    with torch.random.fork_rng(devices=[]):
        _reseed(derive(seed, "mix", epoch, step))
        images, labels = v2.RandomChoice(choices)(images, labels)
    return images.contiguous(memory_format=torch.channels_last), labels
