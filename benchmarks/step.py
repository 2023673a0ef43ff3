"""One sandwich step: against the same nets as plain modules, against the public way, and in bytes."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.public_style import PublicNet, PublicStep
from benchmarks.timing import SPEEDUP, Comparison, in_turn, seconds_of
from benchmarks.toys import sandwich_trainer
from dεps.core.device import set_up
from dεps.core.randomness import python_rng
from dεps.methods.base import Term
from dεps.methods.losses import Targets
from dεps.nets.extract import PlainNet, extract
from dεps.training.loop import Trainer

#: the side that does as the published code, beside the values of train.operators
PUBLIC = "public"


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
    return list(trainer.method.terms(trainer.step, python_rng(trainer.seed, "archs", trainer.step)))


def against_plain(space: str, batch: int, draws: int, rounds: int) -> Comparison:
    """Our step against the plain one, for some draws of archs."""
    trainer, images, labels = sandwich_trainer(space, batch)
    ours, theirs = list[float](), list[float]()
    for step in range(draws):
        trainer.step = step
        plain = PlainStep(trainer, terms_of(trainer))
        found = in_turn(lambda: again(trainer, images, labels, step), lambda: plain(images, labels), rounds)
        ours, theirs = ours + found[0], theirs + found[1]
    against = "the four nets as plain modules, channels_last, the same SGD"
    return Comparison(f"sandwich step, `{space}`, batch {batch}", ours, against, theirs, 1.03)


def against_public(space: str, batch: int, processes: int, steps: int) -> list[Comparison]:
    """Our step as our commands run it, by torch's and by own operators, against the published way: in turn.

    Each is in a process of its own.
    """
    seconds: dict[str, list[float]] = {"torch": [], "native": [], PUBLIC: []}
    for _ in range(processes):
        for side in seconds:
            seconds[side] += _in_process("time", side, space, batch, steps)
    against = "the same work as the code published with DεpS does it: `benchmarks/public_style.py`"
    works = {"torch": "sandwich step", "native": "sandwich step with `train.operators: native`"}
    return [
        Comparison(f"{work}, `{space}`, batch {batch}", seconds[side], against, seconds[PUBLIC], 3.0, SPEEDUP)
        for side, work in works.items()
    ]


def one_step(side: str, space: str, batch: int) -> Callable[[], None]:
    """A training step of the same archs each time, as our commands do it with the operators `side`, or `public`."""
    if side != PUBLIC:
        set_up()
        trainer, images, labels = sandwich_trainer(space, batch, side)
        return lambda: again(trainer, images, labels, 0)
    trainer, images, labels = sandwich_trainer(space, batch)
    net = PublicNet(trainer.space, trainer.net.classes, trainer.net.channels)
    public = PublicStep(net, trainer.config.learning_rate, trainer.config.weight_decay)
    terms, contiguous = terms_of(trainer), images.contiguous()
    return lambda: public(contiguous, labels, terms)


def _time(side: str, space: str, batch: int, steps: int) -> list[float]:
    """Seconds of each step, after one that does not count."""
    step = one_step(side, space, batch)
    return [seconds_of(step) for _ in range(1 + steps)][1:]


def again(trainer: Trainer, images: Tensor, labels: Tensor, step: int) -> None:
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
    return _in_process("peak", side, space, batch)


def _in_process(*arguments: object) -> Any:
    command = [sys.executable, "-m", "benchmarks.step", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure_peak(side: str, space: str, batch: int) -> float:
    """In MiB, of three steps; what torch itself takes is not counted."""
    set_up()
    rest = _most_resident()
    trainer, images, labels = sandwich_trainer(space, batch)
    if side == "largest":
        plain = PlainStep(trainer, terms_of(trainer)[:1])
        del trainer  # its supernet and optimizer too, which have not been used
        gc.collect()
    for step in range(3):
        if side == "largest":
            plain(images, labels)
        else:
            again(trainer, images, labels, step)
    return (_most_resident() - rest) / 1024


def _most_resident() -> int:
    """KiB so far; `getrusage` would begin with what the parent had."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


if __name__ == "__main__":
    what, side, space, *numbers = sys.argv[1:]
    print(json.dumps((_time if what == "time" else _measure_peak)(side, space, *map(int, numbers))))
