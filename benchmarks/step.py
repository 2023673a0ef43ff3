"""One sandwich step: against the same nets as plain modules, against the public way, and in bytes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import torch
from torch import Tensor, nn

from benchmarks.public_style import PublicNet, PublicStep
from benchmarks.timing import SPEEDUP, Comparison, in_turn
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


def terms_of(trainer: Trainer) -> list[Term]:
    """What the trainer's next step trains."""
    return list(trainer.strategy.terms(trainer.step, python_rng(trainer.seed, "archs", trainer.step)))


def against_plain(space: str, batch: int, draws: int, rounds: int) -> Comparison:
    """Our step against the plain one, for some draws of archs."""
    trainer, images, labels = sandwich_trainer(space, batch)
    ours, theirs = list[float](), list[float]()
    for step in range(draws):
        trainer.step = step
        plain = PlainStep(trainer, terms_of(trainer))
        found = in_turn(lambda: _again(trainer, images, labels, step), lambda: plain(images, labels), rounds)
        ours, theirs = ours + found[0], theirs + found[1]
    against = "the four nets as plain modules, channels_last, the same SGD"
    return Comparison(f"sandwich step, `{space}`, batch {batch}", ours, against, theirs, 1.03)


def against_public(space: str, batch: int, rounds: int) -> Comparison:
    """Our step against the public way of doing it."""
    trainer, images, labels = sandwich_trainer(space, batch)
    net = PublicNet(trainer.space, trainer.net.classes, trainer.net.channels)
    public = PublicStep(net, trainer.config.learning_rate, trainer.config.weight_decay)
    terms, contiguous = terms_of(trainer), images.contiguous()
    ours, theirs = in_turn(
        lambda: _again(trainer, images, labels, 0), lambda: public(contiguous, labels, terms), rounds
    )
    against = "elastic modules in contiguous NCHW, masks as large as the parameters"
    return Comparison(f"sandwich step, `{space}`, batch {batch}", ours, against, theirs, 6.0, SPEEDUP)


def _again(trainer: Trainer, images: Tensor, labels: Tensor, step: int) -> None:
    """The step of that number, however often."""
    trainer.step = step
    trainer._step(images, labels, trainer.phases[-1])


# --- memory: each side in a process of its own ------------------------------------------------------------------


def memory(space: str, batch: int, rounds: int) -> Comparison:
    """Peak memory above that of torch at rest: of our steps, and of steps of the largest plain net."""
    ours, theirs = ([peak(side, space, batch) for _ in range(rounds)] for side in ("sandwich", "largest"))
    against = "steps of the largest plain net alone"
    return Comparison(f"peak memory of steps, `{space}`, batch {batch}", ours, against, theirs, 1.15, unit="MiB")


def peak(side: str, space: str, batch: int) -> float:
    """MiB of one side, `sandwich` or `largest`, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.step", side, space, str(batch)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure_peak(side: str, space: str, batch: int) -> float:
    """In MiB, of three steps; what torch itself takes is not counted."""
    rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer, images, labels = sandwich_trainer(space, batch)
    if side == "largest":
        trainer.step = 1  # full model and all
        term = terms_of(trainer)[0]
        del trainer.optimizer
        plain = PlainStep(trainer, [term])
        del trainer
    for step in range(3):
        if side == "largest":
            plain(images, labels)
        else:
            _again(trainer, images, labels, step)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rest) / 1024


if __name__ == "__main__":
    from dεps.device import set_up

    set_up()
    print(json.dumps(_measure_peak(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
