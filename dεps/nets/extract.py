"""Cutting a subnet out of the supernet: a plain network of ordinary torch layers with its own weights.

Everything that evaluates or exports a subnet works on the extracted network, so the supernet's BN statistics are
never touched by an evaluation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dεps.nets.layers import Stretch, filled
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch


class PlainNet(nn.Module):
    """One arch as an ordinary network: images (batch, channels, height, width) to logits (batch, classes)."""

    def __init__(self, body: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.body, self.classifier = body, classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x))


@torch.no_grad()
def extract(net: Supernet, arch: Arch) -> PlainNet:
    """A plain copy of the subnet `arch`, on the supernet's device, in its mode, in channels_last."""
    body = nn.Sequential(*(stretch.build() for stretch in net.body.stretches(arch)))
    plain = PlainNet(body, plain_classifier(net, arch).build())
    return plain.train(net.training).to(memory_format=torch.channels_last)


def plain_classifier(net: Supernet, arch: Arch) -> Stretch:
    """The linear layer after the body of `arch`."""
    *_, last = net.space.layers(arch, net.classes, net.channels)

    def build() -> nn.Linear:
        classifier = nn.Linear(last.inputs, net.classes, device="meta")
        return filled(classifier, net.classifier.weight[:, : last.inputs], net.classifier.bias)

    return Stretch("classifier", build)
