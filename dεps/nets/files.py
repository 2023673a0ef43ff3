"""Reads and writes supernet files: weights as safetensors, and in the header everything needed to build the network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.files import replace_atomic
from dεps.core.schema import checked, structured
from dεps.core.tensors import read_description, read_tensors, save_tensors
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import SearchSpace

#: limits against headers that would fill the memory
MOST_CLASSES, MOST_CHANNELS = 100_000, 1024


@checked
class _Description:
    """Header of a supernet file."""

    choices: dict[str, Any]
    space: dict[str, Any]
    classes: Annotated[int, Field(ge=1, le=MOST_CLASSES)]
    channels: Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
    kernel_transform: bool
    #: what the training depended on, as `dεps.workspace.identity.training_facts` says; None for weights from elsewhere
    trained: dict[str, Any] | None = None
    #: whether moving averages of the weights are in the file too
    averaged: bool = False


#: before the names of the moving averages of weights, in files that have them
_EMA = "ema."


def save_supernet(
    net: Supernet,
    path: Path | str,
    choices: SearchSpace | None = None,
    trained: dict[str, Any] | None = None,
    averaged: Supernet | None = None,
) -> None:
    """Write `net` so that `load_supernet` needs nothing else; the same network gives the same bytes.

    `choices` is the part of the space whose archs were trained, by default `net.choices`; `trained` is what the
    training depended on, for `trained_with`; `averaged` is the same net with the moving averages of its weights, which
    the file then has beside them.
    """
    description = describe(net, choices) | ({"trained": trained} if trained else {})
    tensors = dict(net.state_dict())
    if averaged is not None:  # buffers are BN's statistics, which are recalibrated before use
        tensors |= {f"{_EMA}{name}": tensor for name, tensor in averaged.named_parameters()}
        description["averaged"] = True
    replace_atomic(Path(path), lambda temporary: save_tensors(tensors, temporary, ("supernet", description)))


def describe(net: Supernet, choices: SearchSpace | None = None) -> dict[str, Any]:
    """What `supernet_of` needs beside the weights, as plain data; `choices` as in `save_supernet`."""
    return {
        "choices": dataclasses.asdict(choices or net.choices),
        "space": dataclasses.asdict(net.space),
        "classes": net.classes,
        "channels": net.channels,
        "kernel_transform": net.kernel_transform,
    }


def load_supernet(path: Path | str, ema: bool = False) -> Supernet:
    """The supernet of a file, with `ema` that of the moving averages of its weights (`train.ema`).

    Raises `UserError` naming the file where it is missing, damaged or of another kind, or has no such averages.
    """
    cure = "run the stage that writes it"
    path = Path(path)
    tensors, described = read_tensors(path, "supernet", cure), read_description(path, "supernet", "supernet", cure)
    averages = {name.removeprefix(_EMA): tensor for name, tensor in tensors.items() if name.startswith(_EMA)}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_EMA)}
    if ema and not averages:
        raise UserError(f"{path} has no moving averages of its weights; train it with train.ema such as 0.999")
    net = supernet_of(tensors | averages if ema else tensors, described, path, cure)
    if ema and (lost := [name for name, _ in net.named_parameters() if name not in averages]):
        raise UserError(f"{path} is damaged: it has no moving average of '{lost[0]}'; {cure} again")
    return net


def has_ema(path: Path) -> bool:
    """Whether a supernet file has moving averages of its weights. Raises `UserError` where it cannot be read."""
    described = read_description(path, "supernet", "supernet", "run the stage that writes it")
    return structured(_Description, described, str(path)).averaged


def supernet_of(tensors: dict[str, Tensor], described: dict[str, Any], path: Path, cure: str) -> Supernet:
    """The supernet of these weights that `describe` has described. Raises `UserError` naming the file they are from."""
    description = structured(_Description, described, str(path))
    space = structured(SearchSpace, description.space, f"{path}: space")
    choices = structured(SearchSpace, description.choices, f"{path}: choices")
    # First, because a damaged description could ask for any amount of memory.
    needed = arch_cost(space, space.largest(), description.classes, description.channels).params
    if needed > sum(tensor.numel() for tensor in tensors.values()):
        raise UserError(f"{path} does not fit its own description: that needs {needed:,} weights; {cure} again")
    net = Supernet(space, description.classes, description.channels, description.kernel_transform)
    net.choices = choices
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its own description: {' '.join(str(error).split())[:200]}") from None
    return net


def trained_with(path: Path) -> dict[str, Any]:
    """What the training of a supernet file depended on; empty where the file does not say. Raises `UserError`."""
    described = read_description(path, "supernet", "supernet", "run the stage that writes it")
    return structured(_Description, described, str(path)).trained or {}
