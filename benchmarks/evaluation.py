"""Accuracy of many archs: together, and one after the other."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.timing import SPEEDUP, Comparison, in_turn
from benchmarks.toys import made_up
from dεps.data.batches import Normalise
from dεps.evaluation.accuracy import RECALIBRATION_BATCH, Recalibration, accuracies
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch
from dεps.workspace.presets import load_space

VALIDATION_BATCH = 250


class Images(NamedTuple):
    """How many of each kind; test may have none."""

    recalibration: int
    validation: int
    test: int


#: of the stage `evaluate` of `quick`
QUICK = Images(600, 1000, 2000)


class Population:
    """Archs of a space, and images to measure them on."""

    def __init__(self, space: str, archs: int, images: Images) -> None:
        self.space = load_space(space)
        channels = 1 if space == "mbv3_micro" else 3
        self.data = made_up(images.recalibration, self.space.resolution[-1], channels)
        self.splits = [made_up(n, self.space.resolution[-1], channels).train for n in images[1:] if n]
        self.net = Supernet(self.space, 10, channels, seed=0)
        rng = Random(0)
        self.archs = sorted((self.space.sample(rng) for _ in range(archs)), key=str)
        self.images = Recalibration(torch.arange(images.recalibration))
        self.datasets = [TensorDataset(split.images, split.labels) for split in (self.data.train, *self.splits)]
        self.normalise = Normalise.of(self.data)

    def together(self) -> None:
        """Our way."""
        accuracies(self.net, self.archs, self.data, self.splits, self.images)

    def one_by_one(self, memory_format: torch.memory_format) -> None:
        """The plain way: each net extracted, recalibrated and measured batch by batch."""
        for arch in self.archs:
            self._measure(arch, memory_format)

    @torch.no_grad()
    def _measure(self, arch: Arch, memory_format: torch.memory_format) -> list[float]:
        net = extract(self.net, arch).to(memory_format=memory_format).train()
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                layer.momentum = None
        recalibration, *splits = self.datasets
        for pixels, _ in DataLoader(recalibration, RECALIBRATION_BATCH):
            net(self.normalise(pixels).contiguous(memory_format=memory_format))
        net.eval()
        found = []
        for dataset in splits:
            correct = 0
            for pixels, labels in DataLoader(dataset, VALIDATION_BATCH):
                images = self.normalise(pixels).contiguous(memory_format=memory_format)
                correct += int((net(images).argmax(1) == labels).sum())
            found.append(correct / len(dataset))
        return found


FORMATS = {"channels_last": torch.channels_last, "torch's own layout": torch.contiguous_format}


def against_each(space: str, archs: int, images: Images, layout: str, rounds: int) -> Comparison:
    """Recalibrating and measuring a population."""
    population = Population(space, archs, images)
    ours, theirs = in_turn(population.together, lambda: population.one_by_one(FORMATS[layout]), rounds, warmup=0)
    work = f"accuracy of {archs} archs of `{space}`"
    note = f"BN recalibrated on {images.recalibration:,} images, measured on {images.validation + images.test:,}"
    against = f"each extracted, one after the other, in {layout}"
    return Comparison(work, ours, against, theirs, 2.0, SPEEDUP, note=note)
