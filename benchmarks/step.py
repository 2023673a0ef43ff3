"""One sandwich step against the same four nets as plain modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.timing import Comparison, in_turn
from benchmarks.toys import sandwich_trainer
from dεps.losses import Targets
from dεps.randomness import python_rng
from dεps.strategies.base import Term
from dεps.supernet.extract import PlainNet, extract
from dεps.training import Trainer


class PlainStep:
    """The terms of one step, each on an extracted net of its own; one SGD over as many weights as ours."""

    def __init__(self, trainer: Trainer, terms: list[Term]) -> None:
        self.terms, config = terms, trainer.config
        self.nets = [extract(trainer.net.train(), term.arch) for term in terms]
        self.optimizer = torch.optim.SGD(
            self.nets[0].parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=True,
            foreach=True,
        )

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Forward and backward of every net, then one step."""
        targets = Targets(labels)
        for net in self.nets:
            net.zero_grad(set_to_none=False)
        for net, term in zip(self.nets, self.terms, strict=True):
            logits = _forward(net, images, term)
            if term.full:
                targets.full = logits.detach()
            (term.weight * term.loss(logits, targets)).backward()
        self.optimizer.step()


def _forward(net: PlainNet, images: Tensor, term: Term) -> Tensor:
    features = net.body(images)
    return net.classifier(nn.functional.dropout(features, term.dropout) if term.dropout else features)


def sandwich(space: str, batch: int, rounds: int) -> Comparison:
    """Our step against the plain one, archs drawn anew each round."""
    trainer, images, labels = sandwich_trainer(space, batch)
    phase = trainer.phases[-1]
    plain: list[PlainStep] = []

    def draw() -> None:
        terms = trainer.strategy.terms(trainer.step, python_rng(trainer.seed, "archs", trainer.step))
        plain[:] = [PlainStep(trainer, terms)]

    def ours() -> None:
        trainer._step(images, labels, phase)

    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        draw()
        step = trainer.step

        def again() -> None:
            trainer.step = step  # noqa: B023 the same archs in every round
            ours()

        one = in_turn(again, lambda: plain[0](images, labels), rounds=3)
        for all_, new in zip(seconds, one, strict=True):
            all_.extend(new)
    return Comparison(f"sandwich step, {space}, batch {batch}", *seconds, "the four nets as plain modules", 1.03)
