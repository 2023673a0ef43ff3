"""Training batches: ours against a DataLoader with torchvision's transforms, and against the step they feed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.timing import SPEEDUP, Comparison, in_turn, seconds_of
from benchmarks.toys import made_up, sandwich_trainer
from dεps.data.batches import Normalise, training_batches
from dεps.data.config import AugmentConfig
from dεps.data.folder import to_picture
from dεps.data.splits import PreparedData

SIZE, PADDING = 32, 4


class _Pictures(Dataset):
    """Images one by one, as torchvision's own datasets give them."""

    def __init__(self, data: PreparedData) -> None:
        self.images, self.labels = data.train.images.numpy(), data.train.labels
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomCrop(SIZE, padding=PADDING, padding_mode="reflect"),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(data.manifest["mean"], data.manifest["std"]),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(to_picture(self.images[index])), int(self.labels[index])


def _epochs(data: PreparedData, batch: int) -> Callable[[], None]:
    """One epoch after the other of our batches."""
    epoch = iter(range(1_000_000))
    config = AugmentConfig(flip=True, crop_padding=PADDING)

    def one() -> None:
        for _ in training_batches(data.train, Normalise.of(data), config, batch_size=batch, seed=0, epoch=next(epoch)):
            pass

    return one


def against_loader(images: int, batch: int, rounds: int) -> Comparison:
    """Epochs of images of 32 px: flip, reflected crop, normalise."""
    data = made_up(images, SIZE)
    loader = DataLoader(_Pictures(data), batch, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)

    def theirs() -> None:
        for pictures, _ in loader:
            pictures.to(memory_format=torch.channels_last)

    ours, found = in_turn(_epochs(data, batch), theirs, rounds)

    against = "DataLoader, 2 workers, torchvision's transforms"
    work = f"augmented batches of {batch}, 32 px"
    return Comparison(work, ours, against, found, 20.0, SPEEDUP, note=f"{images:,} images")


def share_of_step(space: str, batch: int, rounds: int) -> Comparison:
    """Making a batch against the training step it is for."""
    trainer, images, labels = sandwich_trainer(space, batch)
    data = made_up(8 * batch, trainer.space.resolution[-1], trainer.net.channels)
    epoch = _epochs(data, batch)
    epoch()
    trainer._step(images, labels, trainer.phases[-1])
    ours, theirs = list[float](), list[float]()
    for _ in range(rounds):
        ours.append(seconds_of(epoch) / 8)
        theirs.append(seconds_of(lambda: trainer._step(images, labels, trainer.phases[-1])))
    return Comparison(f"an augmented batch of {batch}, `{space}`", ours, "the sandwich step it is for", theirs, 0.03)
