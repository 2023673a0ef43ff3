"""The arithmetic of a step alone: its layers as matrix products at full speed, and where the rest of its time goes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.step import again, terms_of
from benchmarks.timing import SPEEDUP, Comparison, in_turn, seconds_of
from benchmarks.toys import sandwich_trainer
from dεps.training.loop import Trainer

#: side of the square matrix by which a depthwise convolution's multiplications are counted, as it is no such product
SQUARE = 128
#: what operators are counted as, by a part of their name; the first that fits
KINDS = {
    "activations": ("hardswish", "relu", "threshold", "clamp", "hardtanh", "hardsigmoid"),
    "batch norm": ("batch_norm",),
    "dense convolutions": ("conv", "mm", "linear"),
}
STEPS = 3

#: rows of pixels, pixels of a row, inner size and columns of a product
Shape = tuple[int, int, int, int]


class Products:
    """The products of a step: for each layer the forward's, and those for its inputs' and its weights' gradients.

    Each is done as a 1×1 convolution in channels_last, which is the same product: torch's `mm` has half the speed where
    MKL does not know the processor.
    """

    def __init__(self, trainer: Trainer, batch: int) -> None:
        self.shapes = list(_shapes(trainer, batch))
        sizes = [(r * p * inner, inner * columns, r * p * columns) for r, p, inner, columns in self.shapes]
        #: memory of inputs, weights and outputs, which all products share
        self.flat = [torch.rand(max(size)) for size in zip(*sizes, strict=True)]

    def __call__(self) -> None:
        for shape in self.shapes:
            x, weight, y = self.tensors(shape)
            F.conv2d(x, weight)
            torch.ops.aten.convolution_backward(
                y, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, False]
            )

    def tensors(self, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
        """Input (rows, inner, pixels, 1), weight (columns, inner, 1, 1) and output (rows, columns, pixels, 1)."""
        rows, pixels, inner, columns = shape
        sides = ((rows, pixels, 1, inner), (columns, 1, 1, inner), (rows, pixels, 1, columns))
        x, weight, y = (own[: math.prod(side)].view(side) for own, side in zip(self.flat, sides, strict=True))
        return x.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2)


def _shapes(trainer: Trainer, batch: int) -> Iterator[Shape]:
    for term in terms_of(trainer):
        for layer in trainer.space.layers(term.arch, trainer.net.classes, trainer.net.channels):
            if layer.groups == 1:
                yield batch, layer.size**2, layer.kernel**2 * layer.inputs, layer.outputs
            else:
                yield batch, max(1, round(layer.macs / SQUARE**2)), SQUARE, SQUARE


def where(trainer: Trainer, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Shares of a step's time by kind of operator, largest first."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for _ in range(STEPS):
            again(trainer, images, labels, 0)
    times: dict[str, float] = defaultdict(float)
    for event in found.key_averages(group_by_input_shape=True):
        times[_kind(event.key, event.input_shapes)] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: time / total for kind, time in Counter(times).most_common()}


def _kind(operator: str, shapes: list[list[int]]) -> str:
    kind = next((kind for kind, names in KINDS.items() if any(name in operator for name in names)), "the rest")
    if kind == "dense convolutions" and "conv" in operator:
        # A forward's second tensor is the weight, a backward's the third.
        weight = next(iter(shapes[2 if "backward" in operator else 1 :]), [])
        return "depthwise convolutions" if len(weight) == 4 and weight[1] == 1 < weight[0] else kind
    return kind


def native_against_torch(space: str, batch: int, rounds: int, wanted: float = math.inf) -> Comparison:
    """Our step with the operators of `dεps.nets.operators` against the same with torch's."""
    trainers = [sandwich_trainer(space, batch, operators)[0] for operators in ("native", "torch")]
    _, images, labels = sandwich_trainer(space, batch)
    own, torchs = (partial(again, trainer, images, labels, 0) for trainer in trainers)
    ours, theirs = in_turn(own, torchs, rounds, warmup=1)
    products = Products(trainers[0], batch)
    alone = min(seconds_of(products) for _ in range(3))
    work, against = f"sandwich step with `train.operators: native`, `{space}`, batch {batch}", "the same with `torch`"
    note = f"{alone / min(ours):.0%} of the speed of its multiplications alone; with torch {alone / min(theirs):.0%}"
    return Comparison(work, ours, against, theirs, wanted, SPEEDUP, note=note)


def against_products(space: str, batch: int, rounds: int) -> Comparison:
    """Our step against the arithmetic in it."""
    trainer, images, labels = sandwich_trainer(space, batch)
    trainer.step = 0
    products = Products(trainer, batch)
    ours, theirs = in_turn(lambda: again(trainer, images, labels, 0), products, rounds, warmup=1)
    row = Comparison(
        f"sandwich step, `{space}`, batch {batch}",
        ours,
        "its multiplications alone: the matrix products of its layers, those of depthwise ones as square products",
        theirs,
        math.inf,
    )
    shares = ", ".join(f"{share:.0%} {kind}" for kind, share in where(trainer, images, labels).items())
    return replace(row, note=f"{1 / row.ratio:.0%} of that speed; of its time {shares}")
