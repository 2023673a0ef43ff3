"""Cuts a subnet out of the supernet: a plain network of ordinary torch layers with its own weights.

Whatever evaluates or exports a subnet works on the extracted network, so no evaluation ever touches the supernet's BN
statistics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dεps.nets.family import Graph, Stretch
from dεps.nets.layers import filled, shared_weights
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch


class PlainNet(nn.Module):
    """One arch as an ordinary network: logits (batch, classes) of images (batch, channels, height, width)."""

    def __init__(self, body: nn.Sequential, classifier: nn.Module) -> None:
        super().__init__()
        self.body, self.classifier = body, classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x))

    def to_onnx(self, graph: Graph, x: str) -> str:
        return graph.add(self.classifier, graph.add(self.body, x))


@torch.no_grad()
def extract(net: Supernet, arch: Arch) -> PlainNet:
    """A plain copy of the subnet `arch`, on the supernet's device, in its mode, in channels_last.

    Its BN statistics are the supernet's, which fit no subnet; `dεps.evaluation.accuracy.recalibrated` gives it its own.
    Raises `UserError` where the supernet has no such arch.
    """
    net.check_arch(arch)
    *body, classifier = (stretch.build() for stretch in stretches(net, arch))
    plain = PlainNet(nn.Sequential(*body), classifier)
    return plain.train(net.training).to(memory_format=torch.channels_last)


@torch.no_grad()
def view(net: Supernet, arch: Arch) -> PlainNet:
    """The subnet `arch` in eval mode as `extract` gives it, but on the supernet's own weights, of which it has no copy.

    It computes the same bits. Only its BN statistics, and kernels that a transformation has made, are its own; what is
    written into the supernet's weights is written into it. Raises `UserError` where the supernet has no such arch.
    """
    net.check_arch(arch)
    with shared_weights():
        *body, classifier = (stretch.build() for stretch in stretches(net, arch))
    return PlainNet(nn.Sequential(*body), classifier).eval().requires_grad_(False)


def stretches(net: Supernet, arch: Arch) -> list[Stretch]:
    """All layers of `arch`, the classifier last."""
    return [*net.body.stretches(arch), Stretch("classifier", lambda: _plain_classifier(net, arch))]


def _plain_classifier(net: Supernet, arch: Arch) -> nn.Linear:
    *_, last = net.space.layers(arch, net.classes, net.channels)
    classifier = nn.Linear(last.inputs, net.classes, device="meta")
    return filled(classifier, net.classifier.weight[:, : last.inputs], net.classifier.bias)
