"""OFA, progressive shrinking (arXiv 1908.09791).

Update: first the full model alone. Frozen, it teaches random subnets of a space that opens step by step: kernels,
then depths, then expand ratios. Each phase starts from the last, with a learning-rate schedule and an optimizer of its
own. What a space has no choice of has no phase; the others keep their lengths. With two choices the short phase offers
what the long one does, as CompOFA's two do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Annotated, NamedTuple

from pydantic import Field

from dεps.core.schema import checked
from dεps.methods.base import LARGEST, Look, Method, Multiple, Phase, Restricted, Setup, Sorting, Term
from dεps.methods.losses import Distillation
from dεps.methods.schedule import DECAYS
from dεps.spaces.space import SearchSpace

LOOK = Look("OFA", "#0072B2", 20)
#: the teacher's epochs in the published recipe, to which the phases' lengths are relative
TEACHER_EPOCHS = 180
#: images of one GPU in the published runs: a warm-up begins at the rate of one
ONE_GPU = 64


class Shrinking(NamedTuple):
    """One published phase: epochs, warm-up among them, the teacher's rate over its own, and the open choices."""

    name: str
    epochs: int
    warmup: int
    rate_divisor: float
    subnets: int
    space: SearchSpace
    sort: Sorting | None = None


def progressive(space: SearchSpace) -> list[Shrinking]:
    """OFA's five phases, but those of what has no choice; "k largest" of a choice where the paper names values."""
    full, kernels = space.top(depth=1, kernel=1, expand=1), space.top(depth=1, expand=1)
    depths = space.top(expand=1)
    stages = []
    if kernels != full:
        stages += [Shrinking("kernel", 125, 5, 2.7, 1, kernels)]
    if depths != kernels:
        stages += [
            Shrinking("depth 1", 25, 0, 32.5, 2, space.top(depth=2, expand=1)),
            Shrinking("depth 2", 125, 5, 10.8, 2, depths),
        ]
    if space != depths:
        stages += [
            Shrinking("expand 1", 25, 0, 32.5, 4, space.top(expand=2), "all"),
            Shrinking("expand 2", 125, 5, 10.8, 4, space, "groups"),
        ]
    return stages


@checked
class TeacherOptions(Restricted):
    """What OFA and CompOFA have in common: a finished full model teaches, in phases of published lengths."""

    #: weight of the teacher's soft labels beside the true ones
    distillation: Annotated[float, Field(ge=0, le=LARGEST)] = 1.0
    #: all phases after the teacher, in units of the published lengths
    epochs_ratio: Multiple = 1.0
    #: the teacher's epochs, in units of the full model's; other than 1 it is trained apart, on a horizon of its own
    teacher_ratio: Multiple = 1.0
    #: the teacher normalises a batch by the batch's own statistics, as in the public code; false: by recalibrated ones
    teacher_in_train_mode: bool = True


@checked
class Options(TeacherOptions):
    """Keys of a method that uses this one."""

    #: learn a linear map from each kernel to the next smaller one; otherwise the smaller is the larger's centre
    kernel_transform: bool = True


@dataclass(frozen=True)
class ProgressiveShrinking(Method):
    """The full model, then `stages` of shrinking under its frozen copy; `setup` is the experiment's."""

    options: TeacherOptions
    stages: list[Shrinking]

    @property
    def space(self) -> SearchSpace:
        """What the last phase offers."""
        return self.stages[-1].space if self.stages else self.setup.space

    @property
    def _teacher(self) -> Setup:
        """With the epochs of the teacher."""
        return self.setup.longer(self.options.teacher_ratio)

    @property
    def trunk_steps(self) -> int:
        """The teacher's training where it is as long as the full model's, else none."""
        return self.setup.end if self._teacher.epochs == self.setup.epochs else 0

    @cached_property
    def _phases(self) -> list[tuple[Phase, Shrinking | None]]:
        setup, start = self._teacher, self._teacher.end
        alone = Phase("full model", 0, start, setup.schedule(), alone=True)
        phases: list[tuple[Phase, Shrinking | None]] = [(alone, None)]
        scale = self.options.epochs_ratio * setup.epochs / TEACHER_EPOCHS
        one_gpu = min(1.0, ONE_GPU / setup.batch_size)
        for number, stage in enumerate(self.stages):
            # Steps rather than whole epochs: the phases' lengths keep their ratios in short budgets too.
            steps = max(1, setup.steps(stage.epochs * scale))
            warmup = min(setup.steps(stage.warmup * scale), steps - 1)
            schedule = DECAYS[setup.decay](setup.learning_rate / stage.rate_divisor, steps, warmup, start, one_gpu)
            teacher = {"freeze_teacher": number == 0, "teacher_in_train_mode": self.options.teacher_in_train_mode}
            end = start + steps
            phase = Phase(stage.name, start, end, schedule, stage.sort, new_optimizer=True, **teacher)
            phases.append((phase, stage))
            start = end
        return phases

    def phases(self) -> Sequence[Phase]:
        return [phase for phase, _ in self._phases]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        """The full model, or random subnets of what is open, with dropout."""
        stage = next(stage for phase, stage in self._phases if phase.start <= step < phase.end)
        if stage is None:
            return [self.full_model_term()]
        loss = Distillation(self.setup.label_smoothing, self.options.distillation)
        return [Term(stage.space.sample(rng), loss, dropout=self.setup.dropout) for _ in range(stage.subnets)]


def build(options: Options, setup: Setup) -> ProgressiveShrinking:
    """The method for `setup`."""
    return ProgressiveShrinking(options, setup, progressive(setup.space))
