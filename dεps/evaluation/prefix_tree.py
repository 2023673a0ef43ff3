"""Evaluates many archs together as a prefix tree: layers with which several of them begin are computed once.

Each arch is a path from the root; archs share it up to the first layer in which they differ:

    images ── stem ── block 1 ──┬── block 2 ──┬── block 3 ── head      arch 0
                                │             └── head                 arch 1: one block less
                                └── block 2, kernel 3 ── head          arch 2: another kernel

A batch of images walks the whole tree. So an arch costs only the layers that set it apart, and images are read, decoded
and normalised once for all archs. On a CPU each thread takes whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import torch
from torch import Tensor, nn

from dεps.core.errors import DivergenceError
from dεps.nets.batchnorm import batch_norms, fold, in_order, settle
from dεps.nets.extract import stretches
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch, SearchSpace

#: bytes that the largest activations of all batches in progress may take, roughly
ACTIVATION_BYTES = 2**32


#: function from logits (batch, classes) and labels int64 (batch,) to one number an image, or several: (…, batch)
Observer = Callable[[Tensor, Tensor], Tensor]


class Node:
    """A stretch of layers, and the stretches that follow it in different archs."""

    def __init__(self, layers: nn.Module) -> None:
        self.layers = layers.eval().to(memory_format=torch.channels_last)
        for module in layers.modules():
            if isinstance(module, nn.Hardswish):
                module.inplace = True  # nothing else reads its input: there are no gradients
        self.children: dict[Hashable, Node] = {}
        #: numbers of the archs that end here
        self.ends: list[int] = []

    def walk(self, x: Tensor, found: dict[int, Tensor]) -> None:
        """Run this stretch on `x`, then all that follow; the logits of arch number n become `found[n]`."""
        x = self.layers(x)
        for number in self.ends:
            found[number] = x
        for child in self.children.values():
            child.walk(x, found)

    def recalibrate(self, batches: list[Tensor], threads: int) -> None:
        """Give this stretch and all that follow BN statistics from `batches` of inputs, and empty the list (memory)."""
        outputs = settle(self.layers, batches, threads)
        batches.clear()
        children = [child for child in self.children.values() if child.children or batch_norms(child.layers)]
        for child in children:
            child.recalibrate(outputs if child is children[-1] else [*outputs], threads)


class PrefixTree:
    """The layers of several subnets: call `recalibrate` first, then `observe`.

    Args:
        net: the supernet, whose weights are copied.
        archs: distinct archs, all of the resolution of the images that the caller will give.
    """

    @torch.no_grad()
    def __init__(self, net: Supernet, archs: Sequence[Arch]) -> None:
        self.root, self.archs = Node(nn.Identity()), len(archs)
        self.nodes = [self.root]
        self.device = net.classifier.weight.device
        for number, arch in enumerate(archs):
            node = self.root
            for stretch in stretches(net, arch):
                if stretch.key not in node.children:
                    self.nodes.append(node.children.setdefault(stretch.key, Node(stretch.build())))
                node = node.children[stretch.key]
            node.ends.append(number)
        self.image_bytes = image_bytes(net.space, archs, net.channels)

    def recalibrate(self, batches: Iterable[Tensor], batch_size: int) -> None:
        """Give every arch BN statistics from all `batches` (batch, channels, size, size), and fold them away.

        Memory holds the activations of all images once for each node with several children on the path in progress.
        """
        self.root.recalibrate([images.to(self.device) for images in batches], self._threads(batch_size))
        for node in self.nodes:
            fold(node.layers)

    def observe(self, batches: Iterable[tuple[Tensor, Tensor]], batch_size: int, of: Observer) -> Tensor:
        """What `of` says of each arch's logits of each image: (archs, …, images) on the CPU.

        Raises `DivergenceError` where a logit is not finite, since no order of classes would mean anything.
        """

        def look(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            (images, labels), found = batch, dict[int, Tensor]()
            self.root.walk(images.to(self.device), found)
            labels, logits = labels.to(self.device, non_blocking=True), [found[number] for number in range(self.archs)]
            finite = torch.stack([one.isfinite().all(1) for one in logits]).all(0)
            return torch.stack([of(one, labels) for one in logits]), finite

        found = list(in_order(look, batches, self._threads(batch_size)))
        if not found:  # this process has no share of the images
            nothing = of(torch.zeros(0, 2, device=self.device), torch.zeros(0, dtype=torch.int64, device=self.device))
            return nothing.expand(self.archs, *nothing.shape).cpu()
        if odd := sum(int((~finite).sum()) for _, finite in found):
            what = f"logits of {odd} images are not finite"
            raise DivergenceError(f"{what}, so no accuracy can be measured; train with a lower rate")
        return torch.cat([one for one, _ in found], -1).cpu()

    def _threads(self, batch_size: int) -> int:
        """Number of batches to work on at once: one per core, as far as memory allows."""
        if self.device.type != "cpu":
            return 1
        return max(1, min(torch.get_num_threads(), ACTIVATION_BYTES // (batch_size * self.image_bytes)))


def rank_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Number int16 (batch,) of classes that `logits` put before the label; below k, the image counts for top-k.

    Of equal logits the class with the lower number is first, as for argmax.
    """
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(1, dtype=torch.int16)


def likeliest(logits: Tensor, labels: Tensor) -> Tensor:
    """The likeliest class and its probability: float64 (2, batch)."""
    classes = logits.argmax(1)
    probabilities = logits.double().softmax(1).gather(1, classes[:, None])[:, 0]
    return torch.stack([classes.double(), probabilities])


def image_bytes(space: SearchSpace, archs: Iterable[Arch], channels: int) -> int:
    """Bytes of the largest float32 activation that any of the archs has for one image."""
    layers = (layer for arch in archs for layer in space.layers(arch, 1, channels))
    return 4 * max(layer.outputs * layer.size**2 for layer in layers)
