"""Cutting a subnet out of the supernet: a plain network of ordinary torch layers with its own weights.

Everything that evaluates or exports a subnet works on the extracted network, so the supernet's BN statistics are
never touched by an evaluation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dεps.search_space import Arch, BlockSpec, SearchSpace
from dεps.supernet.layers import BN_EPS, BN_MOMENTUM
from dεps.supernet.network import Supernet


def _activation(act: str) -> nn.Module:
    if act == "h_swish":
        return nn.Hardswish()
    return nn.ReLU6(inplace=True) if act == "relu6" else nn.ReLU(inplace=True)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


class PlainSqueezeExcite(nn.Module):
    """Squeeze-and-excite with ReLU and hard sigmoid."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(gate)


class PlainBlock(nn.Module):
    """Inverted bottleneck of fixed shape."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.skip = spec.skip
        layers: list[nn.Module] = []
        if spec.expansion:
            layers += [nn.Conv2d(spec.inputs, spec.mid, 1, bias=False), _batch_norm(spec.mid), _activation(spec.act)]
        layers += [
            nn.Conv2d(spec.mid, spec.mid, spec.kernel, spec.stride, spec.kernel // 2, groups=spec.mid, bias=False),
            _batch_norm(spec.mid),
            _activation(spec.act),
        ]
        if spec.se:
            layers.append(PlainSqueezeExcite(spec.mid, spec.se))
        layers += [nn.Conv2d(spec.mid, spec.outputs, 1, bias=False), _batch_norm(spec.outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.skip else y


class PlainNet(nn.Module):
    """One arch as an ordinary network: images (batch, channels, height, width) to logits (batch, classes)."""

    def __init__(self, space: SearchSpace, arch: Arch, classes: int, channels: int = 3) -> None:
        super().__init__()
        specs = list(space.blocks(arch))
        stem, head = space.stem, space.head
        self.stem = nn.Sequential(
            nn.Conv2d(channels, stem.width, 3, stem.stride, 1, bias=False),
            _batch_norm(stem.width),
            _activation(stem.act),
        )
        self.blocks = nn.Sequential(*(PlainBlock(spec) for spec in specs))
        self.final = nn.Sequential(
            nn.Conv2d(specs[-1].outputs, head.expand, 1, bias=False), _batch_norm(head.expand), _activation(head.act)
        )
        mix = [nn.Conv2d(head.expand, head.features, 1, bias=False), _activation(head.act)] if head.features else []
        self.mix = nn.Sequential(*mix)
        self.classifier = nn.Linear(head.features or head.expand, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.final(self.blocks(self.stem(x)))
        x = self.mix(x.mean((2, 3), keepdim=True))
        return self.classifier(x.flatten(1))


@torch.no_grad()
def extract(net: Supernet, arch: Arch) -> PlainNet:
    """A plain copy of the subnet `arch`, on the supernet's device, in its mode, in channels_last."""
    reference = net.classifier.weight
    plain = PlainNet(net.space, arch, net.classes, net.channels).to(reference.device, reference.dtype)
    plain.train(net.training)
    plain.stem[0].weight.copy_(net.stem.weight)
    _copy_bn(plain.stem[1], net.stem_bn)
    for target, spec in zip(plain.blocks, net.space.blocks(arch), strict=True):
        _copy_block(target, net.blocks[spec.index], spec)
    plain.final[0].weight.copy_(net.final.weight)
    _copy_bn(plain.final[1], net.final_bn)
    if net.space.head.features:
        plain.mix[0].weight.copy_(net.mix.weight)
    plain.classifier.load_state_dict(net.classifier.state_dict())
    return plain.to(memory_format=torch.channels_last)


def _copy_block(target: PlainBlock, source: nn.Module, spec: BlockSpec) -> None:
    layers = iter(target.layers)
    if spec.expansion:
        next(layers).weight.copy_(source.expand.sliced(spec.inputs, spec.mid))
        _copy_bn(next(layers), source.expand_bn)
        next(layers)
    next(layers).weight.copy_(source.depthwise.sliced(spec.mid, spec.kernel))
    _copy_bn(next(layers), source.depthwise_bn)
    next(layers)
    if spec.se:
        se = next(layers)
        se.reduce.weight.copy_(source.se.reduce_weight[: spec.se, : spec.mid])
        se.reduce.bias.copy_(source.se.reduce_bias[: spec.se])
        se.expand.weight.copy_(source.se.expand_weight[: spec.mid, : spec.se])
        se.expand.bias.copy_(source.se.expand_bias[: spec.mid])
    next(layers).weight.copy_(source.project.sliced(spec.mid, spec.outputs))
    _copy_bn(next(layers), source.project_bn)


def _copy_bn(target: nn.BatchNorm2d, source: nn.Module) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target, name).copy_(getattr(source, name)[: target.num_features])
