"""Predicts the wall time of training on this machine from a few real steps of each phase, on made-up images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch

from dεps.core.console import ProgressBar, plural
from dεps.core.device import best_device, set_up
from dεps.core.process import is_portable
from dεps.core.randomness import python_rng
from dεps.data.splits import InMemory, PreparedData, Split
from dεps.methods.base import Method, Phase, Term
from dεps.planning.training_plan import MethodPlan, PhasePlan
from dεps.spaces.cost import FORWARD_BACKWARD, macs_counter
from dεps.spaces.space import SearchSpace
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer

#: on a CPU a measured step has as many images as take CPU_MACS, and at least CPU_IMAGES; on a GPU CUDA_IMAGES
CPU_MACS, CPU_IMAGES, CUDA_IMAGES = 4_000_000_000, 4, 512


@dataclass(frozen=True)
class _Cut(Method):
    """One phase of a method, made a method of its own that begins at step 0."""

    method: Method
    phase: Phase
    teacher: bool

    @property
    def space(self) -> SearchSpace:
        return self.method.space

    def phases(self) -> Sequence[Phase]:
        phase = self.phase
        # Without a rate: a few images a step at the rate of a whole batch would diverge, which is an error.
        schedule = replace(phase.schedule, start=phase.schedule.start - phase.start, base=0.0)
        # As long as can be: a trainer that comes to its end validates.
        return [replace(phase, start=0, end=10**9, schedule=schedule, freeze_teacher=self.teacher)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        last = self.phase.end - 1
        return self.method.terms(min(self.phase.start + step, last), rng)


def _noise(images: int, classes: int, size: int, channels: int) -> PreparedData:
    """Random images held in memory, as prepared data."""
    manifest = {"name": "noise", "classes": list(map(str, range(classes))), "channels": channels, "size": size}
    manifest |= {"mean": [0.5] * channels, "std": [0.25] * channels}
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, size, size, channels), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, classes, (images,), generator=generator)
    split = Split(labels, pixels, None, None, size, channels, classes)
    return InMemory({"train": split, "validation": split}, manifest)


@dataclass(frozen=True)
class Measuring:
    """Measures the seconds per MAC of training steps on this machine, over `steps` steps per phase."""

    space: SearchSpace
    config: TrainConfig
    classes: int
    channels: int
    seed: int
    steps: int

    @property
    def device(self) -> str:
        """Name of the GPU, or CPU with its number of threads and whether it takes the kernels of `portable: true`."""
        if self._cuda:
            return torch.cuda.get_device_name()
        return f"CPU, {plural(torch.get_num_threads(), 'thread')}{', portable kernels' if is_portable() else ''}"

    @property
    def _cuda(self) -> bool:
        return (best_device().type if self.config.device == "auto" else self.config.device) == "cuda"

    def timed(self, plans: Sequence[MethodPlan], methods: dict[str, Method], label: str) -> list[MethodPlan]:
        """The plans with the predicted seconds of every phase filled in."""
        set_up()  # as the stages train
        full_alone: float | None = None
        timed = []
        with ProgressBar(label, sum(len(plan.phases) for plan in plans)) as bar:
            for plan in plans:
                method, phases = methods[plan.method], []
                for planned, phase in zip(plan.phases, method.phases(), strict=True):
                    rate = full_alone
                    if planned.weights or rate is None:
                        cut = _Cut(method.options, method.setup, method, phase, planned.teacher)
                        rate = self._seconds_per_mac(cut, planned)
                    full_alone = full_alone if planned.weights else rate
                    phases.append(replace(planned, seconds=rate * planned.macs))
                    bar.advance()
                timed.append(replace(plan, phases=tuple(phases)))
        return timed

    def _seconds_per_mac(self, method: _Cut, planned: PhasePlan) -> float:
        """Seconds per MAC over `steps` steps, augmentation included; a first step is not counted.

        On a GPU the whole is run twice and the second run counts: cuDNN plans each shape when it first sees it.
        """
        batch = self._images(method, planned)
        size = self.space.resolution[-1]
        data = _noise(batch * (self.steps + 1), self.classes, size, self.channels)
        config = replace(self.config, batch_size=batch, validate_every=10**9, teacher_recalibration=CPU_IMAGES)
        marks: list[tuple[float, int]] = []

        def mark() -> None:
            if self._cuda:
                torch.cuda.synchronize()
            marks.append((time.perf_counter(), trainer.macs))

        for _ in range(2 if self._cuda else 1):
            marks.clear()
            trainer = Trainer(self.space, data, config, method, self.seed)
            trainer.on_step = mark
            next(trainer.run())
        (began, before), (ended, after) = marks[0], marks[-1]
        return (ended - began) / (after - before)

    def _images(self, method: _Cut, planned: PhasePlan) -> int:
        """Number of images of a measured step: the whole batch where that is quick, since a step has fixed costs."""
        if self._cuda:
            return min(self.config.batch_size, CUDA_IMAGES)
        terms = method.terms(0, python_rng(self.seed, "archs", 0))
        macs_of = macs_counter(self.space, self.classes, self.channels)
        quick = CPU_MACS // (FORWARD_BACKWARD * sum(macs_of(term.arch) for term in terms))
        return min(self.config.batch_size, max(CPU_IMAGES, quick))
