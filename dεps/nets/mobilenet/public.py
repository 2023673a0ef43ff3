"""Names of the tensors in public MobileNetV3 and ProxylessNAS supernets: those of OFA's and DεpS's code.

An older file says `.mobile_inverted_conv.` where newer ones say `.conv.`, and still older ones lack the inner `.conv`
and `.bn` of elastic layers. The numbers need no change: channels are sliced alike, and a kernel-transformation matrix
multiplies the flattened crop from the same side (`linear(crop, matrix)`, OFA's `DynamicSeparableConv2d`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from dεps.nets.layers import BN_TENSORS
from dεps.nets.mobilenet.geometry import Space


def names(space: Space, kernel_transform: bool) -> Iterator[tuple[str, str]]:
    """Our name of every tensor of a supernet, and the newest public name, in the public order."""
    yield from _conv_bn("body.stem", "first_conv")
    kernels = [[3], *(stage.kernel for stage in space.stages for _ in range(stage.depth[-1]))]
    for spec, choices in zip(space.blocks(space.largest()), kernels, strict=True):
        ours, public = f"body.blocks.{spec.place}", f"blocks.{spec.place}.conv"
        elastic = spec.expansion  # the static block's layers are plain ones, not wrapped once more
        if elastic:
            yield from _conv_bn(f"{ours}.expand", f"{public}.inverted_bottleneck", elastic)
        yield from _conv_bn(f"{ours}.depthwise", f"{public}.depth_conv", elastic)
        if kernel_transform:
            for small, large in itertools.pairwise(choices):
                yield f"{ours}.depthwise.transforms.to{small}", f"{public}.depth_conv.conv.{large}to{small}_matrix"
        if spec.se:
            for layer in ("reduce", "expand"):
                for kind in ("weight", "bias"):
                    yield f"{ours}.se.{layer}_{kind}", f"{public}.depth_conv.se.fc.{layer}.{kind}"
        yield from _conv_bn(f"{ours}.project", f"{public}.point_linear", elastic)
    if space.head.features:
        yield from _conv_bn("body.final", "final_expand_layer")
        yield "body.mix.weight", "feature_mix_layer.conv.weight"
    else:
        yield from _conv_bn("body.final", "feature_mix_layer")
    for kind in ("weight", "bias"):
        yield f"classifier.{kind}", f"classifier.linear.{kind}"


def _conv_bn(ours: str, public: str, elastic: bool = False) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{public}.conv.conv.weight" if elastic else f"{public}.conv.weight"
    for kind in BN_TENSORS:
        yield f"{ours}_bn.{kind}", f"{public}.bn.bn.{kind}" if elastic else f"{public}.bn.{kind}"


def canonical(name: str) -> str:
    """The oldest form of a public name, whichever form it has."""
    name = name.replace(".mobile_inverted_conv.", ".conv.").replace(".conv.conv.weight", ".conv.weight")
    return name.replace(".bn.bn.", ".bn.").replace(".linear.linear.", ".linear.")
