import numpy as np
import torch

from dεps.data.splits import Split
from dεps.evaluation.baseline import _pixels


def split(size: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, size, size, 3), generator=generator, dtype=torch.uint8)
    return Split(torch.arange(30) % 3, images, None, None, size, 3, 3)


def test_small_images_are_taken_as_they_are():
    x, y = _pixels(split(64), 30)
    assert np.array_equal(x, split(64).images.flatten(1).numpy().astype(np.float32) / 255)
    assert np.array_equal(y, np.arange(30) % 3)


def test_large_images_are_shrunk():
    x, y = _pixels(split(96), 12)
    assert x.shape == (12, 32 * 32 * 3)
    assert len(y) == 12
