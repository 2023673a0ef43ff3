"""BN statistics of a subnet, computed anew.

Subnets share BN statistics that fit none of them, so before an arch is evaluated they become those of training images
(OFA's procedure; BigNAS §3.3 finds it necessary). The public code averages the statistics of batches, each normalised
by its own; a last batch of one image then weighs like one of 200, and later layers depend on how images were cut into
batches. Here the statistics of each layer are those of all images together, and the next layer sees images that are
normalised by them: one pass over all images at once, whatever the batches are.

    batch 1 ── conv ── BN ✕            every batch up to the first BN without statistics
    batch 2 ── conv ── BN ✕   ─→ BN's mean and variance over both
    batch 1 ── conv ── BN ── act ── conv ── BN ✕       then again, up to the next
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

T, R = TypeVar("T"), TypeVar("R")

#: values a channel that are added up in float32 before float64 takes over; torch's own batch normalisation adds up all
#: of them: over the 2.5 million of 200 images at 112 px a CPU's variance is off by 0.2 %
ADDED = 1024


class Moments(NamedTuple):
    """Mean and variance (divided by the count) of so many values of each channel, float64 (channels,)."""

    count: int
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Those of (batch, channels, height, width)."""
        at_once = len(x) if x.is_cuda else max(1, ADDED // x[0, 0].numel())
        return cls.together([_moments(some) for some in x.split(at_once)])

    @classmethod
    def together(cls, parts: Sequence[Moments]) -> Moments:
        """Those of all values of `parts`."""
        total = sum(part.count for part in parts)
        mean = sum(part.mean * (part.count / total) for part in parts)
        return cls(total, mean, sum((part.variance + (part.mean - mean) ** 2) * (part.count / total) for part in parts))


def _moments(x: Tensor) -> Moments:
    values = x.movedim(1, -1).flatten(0, -2)  # a view, in channels_last
    mean = values.mean(0)  # torch.var_mean takes ten times as long
    return Moments(len(values), mean.double(), (values - mean).square_().mean(0).double())


class BatchNorm(nn.BatchNorm2d):
    """Ordinary batch normalisation; while it is `unsettled` a forward ends here, raising `Reached`."""

    unsettled = False

    def forward(self, x: Tensor) -> Tensor:
        if self.unsettled:
            raise Reached(self, Moments.of(x))
        return super().forward(x)

    def settle(self, moments: Moments) -> None:
        """Take over these statistics."""
        self.running_mean.copy_(moments.mean)
        self.running_var.copy_(moments.variance)
        self.unsettled = False


class Reached(Exception):  # noqa: N818 - no error
    """A forward has come to a layer whose statistics are not known yet; with those of its own images."""

    def __init__(self, layer: BatchNorm, moments: Moments) -> None:
        super().__init__()
        self.layer, self.moments = layer, moments


def batch_norms(net: nn.Module) -> list[BatchNorm]:
    """All layers of a network that `settle` gives statistics."""
    return [module for module in net.modules() if isinstance(module, BatchNorm)]


def settle(layers: nn.Module, batches: Iterable[Tensor], threads: int = 1) -> list[Tensor]:
    """Give each BN in `layers` the statistics of all `batches` together; what `layers`, in eval mode, make of each.

    `layers` run once more for each BN in them, so a whole network is better given stretch by stretch (`recalibrate`).
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
        while True:
            outcomes = list(in_order(outcome, batches, threads))
            if isinstance(outcomes[0], Tensor):
                break
            layer, moments = outcomes[0].layer, Moments.together([reached.moments for reached in outcomes])
            layer.settle(moments)
            counts[layer] = moments.count
    finally:
        for norm in norms:
            norm.unsettled = False
    # As in training: images are normalised by their own variance, and the variance of a sample is kept.
    for norm, count in counts.items():
        norm.running_var.mul_(count / max(1, count - 1))
    return outcomes


def recalibrate(stretches: Iterable[nn.Module], batches: Iterable[Tensor], threads: int = 1) -> None:
    """Give each BN in `stretches`, which follow each other, the statistics of all `batches` of images together.

    Holds what one stretch makes of all images.
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
    """What `work` makes of each item, in their order; without gradients. Each thread computes on one core.

    So the bits of a result do not depend on how many there are, and small layers are not shared among cores.
    """
    if threads == 1:
        with torch.no_grad():
            yield from map(work, items)
        return

    def one(item: T) -> R:
        with torch.no_grad():  # which is a state of each thread
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
