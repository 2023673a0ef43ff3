"""Names of the tensors in OFA's public ResNet50-D supernet, `ofa_resnet50`.

Older files lack the inner `.conv`, `.bn` and `.linear` of elastic layers. The numbers need no change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dεps.nets.layers import BN_TENSORS
from dεps.nets.resnet.geometry import Space


def names(space: Space, kernel_transform: bool) -> Iterator[tuple[str, str]]:
    """Our name of every tensor of a supernet, and the newest public name, in the public order."""
    yield from _conv_bn("body.stem_in", "input_stem.0")
    yield from _conv_bn("body.stem_residual", "input_stem.1.conv")
    yield from _conv_bn("body.stem_out", "input_stem.2")
    for spec in space.blocks(space.largest()):
        ours, public = f"body.blocks.{spec.place}", f"blocks.{spec.place}"
        for number, layer in enumerate(("reduce", "middle", "restore"), 1):
            yield from _conv_bn(f"{ours}.{layer}", f"{public}.conv{number}")
        if spec.projection:
            yield from _conv_bn(f"{ours}.shortcut", f"{public}.downsample")
    for kind in ("weight", "bias"):
        yield f"classifier.{kind}", f"classifier.linear.linear.{kind}"


def _conv_bn(ours: str, public: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.conv.weight", f"{public}.conv.conv.weight"
    for kind in BN_TENSORS:
        yield f"{ours}.bn.{kind}", f"{public}.bn.bn.{kind}"


def canonical(name: str) -> str:
    """One form of a public name for both that it has had; not a name that any file has."""
    name = re.sub(r"(\.conv)+\.weight$", ".conv.weight", name)
    return name.replace(".bn.bn.", ".bn.").replace(".linear.linear.", ".linear.")
