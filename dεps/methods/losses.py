"""Losses of a subnet: each maps its logits and the `Targets` of the step to a scalar, the mean over the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # torch takes seconds, and most who ask a method something train nothing
    from torch import Tensor


@dataclass
class Targets:
    """What the subnets of one step may learn from."""

    labels: Tensor  # int64 (batch,); of mixed images probabilities, float (batch, classes)
    full: Tensor | None = None  # the full model's detached logits of this very step (in-place distillation)
    teacher: Tensor | None = None  # a frozen teacher's logits


class Loss(Protocol):
    """Logits (batch, classes) and targets to a scalar."""

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor: ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy against the labels with label smoothing."""

    smoothing: float = 0.0

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, targets.labels, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class InPlaceDistillation:
    """Soft cross-entropy against the full model's logits of the same step (BigNAS §3.1, DεpS §3.3).

    With temperature τ both sides are divided by τ and the loss is multiplied by τ², which keeps the gradient's size.
    """

    temperature: float = 1.0

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        return soft_cross_entropy(logits, targets.full, self.temperature)


@dataclass(frozen=True)
class Distillation:
    """OFA's loss of a subnet: `ratio` × soft cross-entropy against the frozen teacher, plus cross-entropy on labels."""

    smoothing: float = 0.0
    ratio: float = 1.0

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        labels = CrossEntropy(self.smoothing)(logits, targets)
        return labels + self.ratio * soft_cross_entropy(logits, targets.teacher)


def soft_cross_entropy(logits: Tensor, teacher: Tensor | None, temperature: float = 1.0) -> Tensor:
    """Cross-entropy of `logits` against the distribution softmax(teacher / temperature), times temperature²."""
    from torch.nn.functional import cross_entropy

    if teacher is None:
        raise ValueError("the teacher's logits are not there: its term must come first, or a phase must freeze it")
    loss = cross_entropy(logits / temperature, (teacher / temperature).softmax(1))
    return loss * temperature**2
