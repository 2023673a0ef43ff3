"""BN statistics of a subnet, computed anew.

Subnets share BN statistics that fit none of them, so before an arch is evaluated they become the cumulative average
over batches of training images (OFA's procedure; BigNAS §3.3 finds it necessary).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

T, R = TypeVar("T"), TypeVar("R")


class _Current(threading.local):
    """The batch that this thread recalibrates with."""

    number: int


_current = _Current()


class BatchNorm(nn.BatchNorm2d):
    """Ordinary batch normalisation; while `seen` is a dictionary each batch's own statistics are used and kept there.

    Several threads may then use it at once, each with a batch of its own.
    """

    seen: dict[int, tuple[Tensor, Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.seen is None:
            return super().forward(x)
        mean, variance = torch.zeros_like(self.running_mean), torch.ones_like(self.running_var)
        self.seen[_current.number] = mean, variance
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps)


def batch_norms(net: nn.Module) -> list[BatchNorm]:
    """All that `recalibrate` may be given of a network."""
    return [module for module in net.modules() if isinstance(module, BatchNorm)]


def recalibrate(
    run: Callable[[Tensor], object], layers: Sequence[BatchNorm], batches: Iterable[Tensor], threads: int = 1
) -> None:
    """Set the statistics of `layers` to their average over `batches` of images, which `run` passes through them."""

    def pass_on(numbered: tuple[int, Tensor]) -> None:
        _current.number, images = numbered
        run(images)

    for layer in layers:
        layer.seen = {}
    try:
        for _ in in_order(pass_on, enumerate(batches), threads):
            pass
        for layer in layers:
            means, variances = zip(*(layer.seen[number] for number in sorted(layer.seen)), strict=True)
            layer.running_mean.copy_(torch.stack(means).mean(0))
            layer.running_var.copy_(torch.stack(variances).mean(0))
    finally:
        for layer in layers:
            layer.seen = None


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
