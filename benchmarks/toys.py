"""Made-up data and a trainer in the middle of a sandwich phase."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from dεps.data.splits import InMemory, PreparedData, Split
from dεps.methods import registry
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.workspace.presets import load_space


def made_up(images: int, size: int, channels: int = 3, classes: int = 10) -> PreparedData:
    """Random images, the same ones in all splits."""
    generator = Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, size, size, channels), generator=generator, dtype=torch.uint8)
    split = Split(torch.arange(images) % classes, pixels, None, None, size, channels, classes)
    names, statistics = [str(label) for label in range(classes)], {"mean": [0.5] * channels, "std": [0.25] * channels}
    manifest = {"name": "made up", "classes": names, "channels": channels, **statistics, "sha256": {}}
    return InMemory(dict.fromkeys(("train", "validation", "test"), split), manifest, workers=2)


def sandwich_trainer(space_name: str, batch: int, operators: str = "torch") -> tuple[Trainer, Tensor, Tensor]:
    """A DεpS trainer that shrinks from the first step, and a batch of images and labels for it."""
    space = load_space(space_name)
    channels = 1 if space_name == "mbv3_micro" else 3
    data = made_up(4 * batch, space.resolution[-1], channels)
    config = TrainConfig(epochs=2, batch_size=batch, operators=operators)
    method = registry.build({"method": "deps", "shrink_start": 0.0}, "deps", config.setup(space, data))
    trainer = Trainer(space, data, config, method, seed=0)
    images = trainer.normalise(data.train.images[:batch]).to(memory_format=torch.channels_last)
    return trainer, images, data.train.labels[:batch]
