"""Many archs as one tree of layers: what they begin with alike is computed once for all of them.

The archs' extracted layers form a trie, in which archs share their path for as long as their layers are the same. A
batch of images walks the whole tree, so an arch costs only what sets it apart from the others, and images are read,
decoded and normalised once for all. On a CPU each batch is one thread's own work.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from dεps.core.errors import DivergenceError
from dεps.nets.batchnorm import batch_norms, fold, in_order, settle
from dεps.nets.extract import stretches
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch, SearchSpace

#: about as much memory may hold the largest activations of all batches that are worked on at once
ACTIVATION_BYTES = 2**32


class Node:
    """A stretch of layers, and the stretches that may follow it."""

    def __init__(self, layers: nn.Module) -> None:
        self.layers = layers.eval().to(memory_format=torch.channels_last)
        for module in layers.modules():
            if isinstance(module, nn.Hardswish):
                module.inplace = True  # without gradients nothing else needs what it reads
        self.children: dict[Hashable, Node] = {}
        #: numbers of the archs that end here
        self.ends: list[int] = []

    def walk(self, x: Tensor, found: dict[int, Tensor]) -> None:
        """Run this stretch on `x` and what follows on its result; the result of arch number n becomes `found[n]`."""
        x = self.layers(x)
        for number in self.ends:
            found[number] = x
        for child in self.children.values():
            child.walk(x, found)

    def recalibrate(self, batches: list[Tensor], threads: int) -> None:
        """Settle this stretch and what follows on `batches` of its inputs, which are let go of: the list gets empty."""
        outputs = settle(self.layers, batches, threads)
        batches.clear()
        children = [child for child in self.children.values() if child.children or batch_norms(child.layers)]
        for child in children:
            child.recalibrate(outputs if child is children[-1] else [*outputs], threads)


class Trie:
    """Extracted archs: first to be recalibrated, then to be asked for predictions.

    Args:
        net: the supernet, from which weights are copied.
        archs: distinct; images are brought to their size by the caller.
    """

    @torch.no_grad()
    def __init__(self, net: Supernet, archs: Sequence[Arch]) -> None:
        self.root, self.archs = Node(nn.Identity()), len(archs)
        self.device = net.classifier.weight.device
        for number, arch in enumerate(archs):
            node = self.root
            for stretch in stretches(net, arch):
                if stretch.key not in node.children:
                    node.children[stretch.key] = Node(stretch.build())
                node = node.children[stretch.key]
            node.ends.append(number)
        self.image_bytes = image_bytes(net.space, archs, net.channels)

    def recalibrate(self, batches: Iterable[Tensor], batch_size: int) -> None:
        """Give every arch the BN statistics of all `batches` of images, and fold them into its convolutions.

        Holds what is made of all images at each node that has several children, on the way to one of them.
        """
        self.root.recalibrate([images.to(self.device) for images in batches], self._threads(batch_size))
        for node in self._nodes():
            fold(node.layers)

    def correct(self, batches: Iterable[tuple[Tensor, Tensor]], batch_size: int) -> Tensor:
        """Which of the images each arch gives their label: bool (archs, images) on the CPU.

        Raises `DivergenceError` where a logit is not finite: the largest of them would be any.
        """

        def compare(batch: tuple[Tensor, Tensor]) -> Tensor:
            images, labels = batch
            found, labels = self._run(images), labels.to(self.device, non_blocking=True)
            logits = [found[number] for number in range(self.archs)]
            finite = torch.stack([one.isfinite().all(1) for one in logits]).all(0)
            return torch.stack([*(one.argmax(1) == labels for one in logits), finite])

        none = torch.zeros(self.archs + 1, 0, dtype=torch.bool, device=self.device)
        rows = torch.cat([none, *in_order(compare, batches, self._threads(batch_size))], 1).cpu()
        if odd := int((~rows[-1]).sum()):
            raise DivergenceError(
                f"logits of {odd} images are not finite, so no accuracy can be measured; train with a lower rate"
            )
        return rows[:-1]

    def _run(self, images: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        self.root.walk(images.to(self.device), found)
        return found

    def _threads(self, batch_size: int) -> int:
        """As many as there are cores, and memory for."""
        if self.device.type != "cpu":
            return 1
        return max(1, min(torch.get_num_threads(), ACTIVATION_BYTES // (batch_size * self.image_bytes)))

    def _nodes(self) -> Iterator[Node]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children.values()


def image_bytes(space: SearchSpace, archs: Iterable[Arch], channels: int) -> int:
    """Size of the largest activation that any of the archs has for one image, in float32."""
    layers = (layer for arch in archs for layer in space.layers(arch, 1, channels))
    return 4 * max(layer.outputs * layer.size**2 for layer in layers)
