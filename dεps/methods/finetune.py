"""Fine-tuning: one subnet trains on from the supernet's weights (OFA §4.1, "#25" and "#75" of its tables).

Update: one step on that arch, on labels as the full model is trained (cross-entropy with label smoothing, dropout); or,
with the full model as teacher, OFA's loss of a subnet, against the supernet's own full model as it is at the start.
The papers do not give the learning rate: here it is a share of the experiment's, and falls from the first step on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from dεps.core.console import plural
from dεps.core.schema import checked
from dεps.methods.base import Method, Multiple, Phase, Setup, Term
from dεps.methods.losses import CrossEntropy, Distillation, Loss
from dεps.spaces.space import Arch

LOOK = None

#: what a fine-tuned subnet learns from
Teacher = Literal["labels", "full_model"]


@checked
class FineTuneConfig:
    """The `finetune` section of an experiment: how exported subnets are trained on."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 25
    teacher: Teacher = "labels"
    #: peak of the schedule, as a multiple of `train.learning_rate`
    learning_rate_ratio: Multiple = 0.1

    def __str__(self) -> str:
        """Epochs and teacher in words."""
        taught = "with the full model as teacher" if self.teacher == "full_model" else "on labels"
        return f"{plural(self.epochs, 'epoch')} {taught}"


@checked
class Options(FineTuneConfig):
    """What a subnet's training needs beside that."""

    #: a name or a text that `SearchSpace.named` understands
    arch: str = "smallest"
    #: of the supernet that it begins at
    kernel_transform: bool = False


@dataclass(frozen=True)
class FineTune(Method):
    """Trains one arch on; the supernet offers all archs all the same."""

    options: Options
    arch: Arch

    @property
    def resolution(self) -> Sequence[int]:
        """The arch's own alone."""
        return (self.arch.resolution,)

    def phases(self) -> Sequence[Phase]:
        taught = self.options.teacher == "full_model"
        return [Phase("fine-tuning", 0, self.setup.end, self.setup.schedule(), freeze_teacher=taught)]

    def terms(self, step: int, rng: Random) -> Sequence[Term]:
        smoothing = self.setup.label_smoothing
        taught = self.options.teacher == "full_model"
        loss: Loss = Distillation(smoothing) if taught else CrossEntropy(smoothing)
        return [Term(self.arch, loss, dropout=self.setup.dropout)]


def build(options: Options, setup: Setup) -> FineTune:
    """The method for `setup`, whose epochs, rate and warm-up give way to its own. Raises `UserError` for no arch."""
    arch = setup.space.named(options.arch, "finetune.arch")
    rate = options.learning_rate_ratio * setup.learning_rate
    own = replace(setup, epochs=options.epochs, learning_rate=rate, warmup_epochs=0.0)
    return FineTune(options, own, arch)
