"""Losses of a subnet: each maps its logits and the `Targets` of the step to a scalar, the mean over the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Literal, Protocol

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


#: how far the subnet's distribution q is from the full model's p. forward: soft cross-entropy, with the gradient of
#: KL(p‖q). reverse: KL(q‖p). symmetric: their mean. js: Jensen–Shannon. alpha: AlphaNet's adaptive α-divergence
Divergence = Literal["forward", "reverse", "symmetric", "js", "alpha"]


@dataclass(frozen=True)
class AdaptiveAlpha:
    """The larger of two α-divergences, image by image (AlphaNet, arXiv 2102.07954, §3).

        D_α(p‖q) = Σ q ((p/q)^α − 1) / (α (α − 1)),   ∇D_α = −Σ q (p/q)^α / α · ∇log q,   D_1 = KL(p‖q)

    A negative α punishes subnets that put probability where the full model has none, a positive one those that miss
    what it has. (p/q)^α is clipped at β in value and gradient, but for α = 1, whose gradient q − p is bounded as it is;
    so it is in the public code.

    Attributes:
        low: α₋.
        high: α₊; above 1 a clipped value can be negative, and the larger one the wrong one.
        clip: β.
    """

    low: float = -1.0
    high: float = 1.0
    clip: float = 5.0

    def __call__(self, log_q: Tensor, log_p: Tensor) -> Tensor:
        """Values (batch,) whose gradient is the one above, which the derivative of a clipped value is not."""
        from torch import where

        low, low_gradient = self._divergence(log_q, log_p, self.low)
        high, high_gradient = self._divergence(log_q, log_p, self.high)
        surrogate = where(low > high, low_gradient, high_gradient)
        return where(low > high, low, high) + (surrogate - surrogate.detach())

    def _divergence(self, log_q: Tensor, log_p: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        """D_α (batch,), without a gradient, and (batch,) of which only the gradient means something."""
        log_ratio = log_p - log_q.detach()
        if alpha == 1.0:
            p = log_p.exp()
            return (p * log_ratio).sum(1), -(p * log_q).sum(1)
        q, weights = log_q.detach().exp(), (alpha * log_ratio).exp().clamp(max=self.clip)
        return (q * (weights - 1)).sum(1) / (alpha * (alpha - 1)), -(q * weights * log_q).sum(1) / alpha


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a‖b) (batch,) of log-probabilities (batch, classes)."""
    return (log_a.exp() * (log_a - log_b)).sum(1)


def _jensen_shannon(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Mean KL of p and of q to their mean, at most log 2."""
    middle = log_q.logaddexp(log_p) - log(2.0)
    return 0.5 * (_kl(log_p, middle) + _kl(log_q, middle))


#: by name, of log-probabilities of the subnet and of the full model; "forward" and "alpha" are what they are below
_DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "reverse": _kl,
    "symmetric": lambda log_q, log_p: 0.5 * (_kl(log_p, log_q) + _kl(log_q, log_p)),
    "js": _jensen_shannon,
}


@dataclass(frozen=True)
class InPlaceDistillation:
    """Distance from the full model's logits of the same step (BigNAS §3.1, DεpS §3.3), by default soft cross-entropy.

    With temperature τ both sides are divided by τ and the loss is multiplied by τ², which keeps the gradient's size.
    """

    temperature: float = 1.0
    divergence: Divergence = "forward"
    #: of divergence "alpha"
    alpha: AdaptiveAlpha = AdaptiveAlpha()

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        teacher = _there(targets.full)
        if self.divergence == "forward":
            return soft_cross_entropy(logits, teacher, self.temperature)
        distance = self.alpha if self.divergence == "alpha" else _DIVERGENCES[self.divergence]
        log_q, log_p = ((one / self.temperature).log_softmax(1) for one in (logits, teacher))
        return distance(log_q, log_p).mean() * self.temperature**2


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

    loss = cross_entropy(logits / temperature, (_there(teacher) / temperature).softmax(1))
    return loss * temperature**2


def _there(teacher: Tensor | None) -> Tensor:
    if teacher is None:
        raise ValueError("the teacher's logits are not there: its term must come first, or a phase must freeze it")
    return teacher
