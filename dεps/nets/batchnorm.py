"""Computes the BN statistics of a subnet anew, from training images.

Subnets share BN statistics that fit none of them, so each arch gets its own before it is evaluated (OFA's procedure;
BigNAS §3.3 finds it necessary). The public code averages the statistics of batches, each normalised by its own: a last
batch of one image then counts as much as one of 200, and later layers depend on how the images were cut into batches.
Here each layer gets the statistics of all images together, and the next layer sees images normalised by them, as in one
pass over all images at once, whatever the batches.

    batch 1 ── conv ── BN ✕            every batch up to the first BN without statistics
    batch 2 ── conv ── BN ✕   ─→ BN's mean and variance over both
    batch 1 ── conv ── BN ── act ── conv ── BN ✕       then again, up to the next
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

T = TypeVar("T")
R = TypeVar("R")

#: number of values per channel that are summed in float32 before float64 takes over; torch's own batch normalisation
#: sums all of them that way, and over the 2.5 million of 200 images at 112 px a CPU's variance is off by 0.2 %
ADDED = 1024


@dataclass(frozen=True)
class Moments:
    """Mean and variance (divided by `count`), both float64 (channels,), of `count` values per channel."""

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Moments of x (batch, channels, height, width)."""
        at_once = len(x) if x.is_cuda else max(1, ADDED // x[0, 0].numel())
        return cls.together([_moments(some) for some in x.split(at_once)])

    @classmethod
    def together(cls, parts: Sequence[Moments]) -> Moments:
        """Moments of all the values that `parts` are moments of."""
        total = sum(part.count for part in parts)
        zero = torch.zeros_like(parts[0].mean)
        mean = sum((part.mean * (part.count / total) for part in parts), zero)
        spread = ((part.variance + (part.mean - mean) ** 2) * (part.count / total) for part in parts)
        return cls(total, mean, sum(spread, zero))


def _moments(x: Tensor) -> Moments:
    values = x.movedim(1, -1).flatten(0, -2)  # a view, in channels_last
    mean = values.mean(0)  # torch.var_mean takes ten times as long
    return Moments(len(values), mean.double(), (values - mean).square_().mean(0).double())


class BatchNorm(nn.BatchNorm2d):
    """Ordinary batch normalisation of input (batch, channels, height, width).

    While it is `unsettled`, a forward pass stops here by raising `Reached`.
    """

    unsettled = False

    def forward(self, input: Tensor) -> Tensor:
        if self.unsettled:
            raise Reached(self, Moments.of(input))
        return super().forward(input)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Running mean and running variance, (channels,) each."""
        return cast(tuple[Tensor, Tensor], (self.running_mean, self.running_var))

    def settle(self, moments: Moments) -> None:
        """Take over these statistics."""
        mean, variance = self.statistics()
        mean.copy_(moments.mean)
        variance.copy_(moments.variance)
        self.unsettled = False


class Reached(Exception):  # noqa: N818 - no error
    """A forward pass has come to a BN without statistics; carries the moments of what it would have normalised."""

    def __init__(self, layer: BatchNorm, moments: Moments) -> None:
        super().__init__()
        self.layer, self.moments = layer, moments


def batch_norms(net: nn.Module) -> list[BatchNorm]:
    """All BN layers of a plain network."""
    return [module for module in net.modules() if isinstance(module, BatchNorm)]


def settle(layers: nn.Module, batches: Iterable[Tensor], threads: int = 1) -> list[Tensor]:
    """Give each BN in `layers` the statistics of all `batches` together; return the output for each batch.

    `layers` must be in eval mode. They run once more for each BN in them, so for a whole network use `recalibrate`,
    which goes stretch by stretch.
    """
    norms, batches, counts = batch_norms(layers), list(batches), dict[BatchNorm, int]()

    def outcome(batch: Tensor) -> Tensor | Reached:
        try:
            return layers(batch)
        except Reached as reached:
            return reached

    for norm in norms:
        norm.unsettled = True
    try:
        outcomes = list(in_order(outcome, batches, threads))
        while reached := [one for one in outcomes if isinstance(one, Reached)]:
            layer, moments = reached[0].layer, Moments.together([one.moments for one in reached])
            layer.settle(moments)
            counts[layer] = moments.count
            outcomes = list(in_order(outcome, batches, threads))
    finally:
        for norm in norms:
            norm.unsettled = False
    # As in training: images are normalised by their own variance, while the stored one is unbiased.
    for norm, count in counts.items():
        norm.statistics()[1].mul_(count / max(1, count - 1))
    return [one for one in outcomes if isinstance(one, Tensor)]


def recalibrate(stretches: Iterable[nn.Module], batches: Iterable[Tensor], threads: int = 1) -> None:
    """Give each BN in consecutive `stretches` the statistics of all `batches` of images together.

    Keeps one stretch's outputs for all images in memory.
    """
    for stretch in stretches:
        batches = settle(stretch, batches, threads)


@torch.no_grad()
def fold(net: nn.Module) -> None:
    """Make one convolution, in channels_last, of each convolution and the BN right after it in a sequence."""
    for layers in [module for module in net.modules() if isinstance(module, nn.Sequential)]:
        for number in range(1, len(layers)):
            conv, norm = layers[number - 1], layers[number]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNorm):
                layers[number - 1] = fuse_conv_bn_eval(conv, norm).to(memory_format=torch.channels_last)
                layers[number] = nn.Identity()


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Results of `work` on each item, in the items' order, without gradients; each thread computes on one core.

    So the bits of a result do not depend on the number of threads, and small layers are not split among cores.
    """
    if threads == 1:
        with torch.no_grad():
            yield from map(work, items)
        return

    def one(item: T) -> R:
        with torch.no_grad():  # each thread has its own mode
            return work(item)

    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[R]]()
    try:
        for item in items:
            waiting.append(pool.submit(one, item))
            if len(waiting) > threads:  # one is ready when a thread becomes free
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)
