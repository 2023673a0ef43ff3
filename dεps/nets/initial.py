"""Begins a network with the weights of a file: a supernet of this project, or a public OFA or DεpS checkpoint.

All weights and BN statistics of the body are taken over, so the file's layers must be the space's. The classifier is
taken over where the file has as many classes; else it stays as the seed has drawn it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dεps.core.errors import UserError
from dεps.nets.files import load_supernet
from dεps.nets.public import import_checkpoint
from dεps.nets.supernet import Supernet
from dεps.spaces.space import SearchSpace

#: of a space: what its layers' shapes say, and what changes no weight
_CHOICES = ("name", "resolution", "coupled", "depth", "kernel", "expand", "width_mult", "width")
#: what may differ, and is said: the same weights at other sizes of the image
_MAY_DIFFER = ("stride", "bn_eps")
#: part of the name of a kernel transformation, which not every method has
_TRANSFORMS = ".transforms."
_CLASSIFIER = "classifier."


@torch.no_grad()
def begin_from(net: Supernet, path: Path) -> str:
    """Give `net` the weights and BN statistics of a supernet file or a public checkpoint.

    Returns one line that says what was taken over and what was not. No code in the file is run. Raises `UserError`
    naming the file, and the tensor with both shapes where one does not fit; then `net` is as it was.
    """
    other = _read(path, net.space)
    notes = _differences(path, other.space, net.space)
    own, theirs = net.state_dict(), other.state_dict()
    taken = {name: tensor for name, tensor in theirs.items() if not name.startswith(_CLASSIFIER)}
    if other.classes == net.classes:
        taken |= {name: tensor for name, tensor in theirs.items() if name.startswith(_CLASSIFIER)}
        what = f"all weights, those of the classifier for {net.classes:,} classes too"
    else:
        what = f"all weights but the classifier's, which is new: {path} has {other.classes:,} classes"
        what += f", the data {net.classes:,}"
    transforms = {name for name in taken if _TRANSFORMS in name}
    if not net.kernel_transform or _kernels(other.space) != _kernels(net.space):
        taken = {name: tensor for name, tensor in taken.items() if name not in transforms}
        notes += ["its kernel transformations are not used"] if transforms else []
    needed = [name for name in own if not name.startswith(_CLASSIFIER) and _TRANSFORMS not in name]
    _check_fit(path, net, taken, needed)
    for name, tensor in taken.items():
        own[name].copy_(tensor)
    return "; ".join([f"begins from {path}: {what}", *notes])


def _read(path: Path, space: SearchSpace) -> Supernet:
    """The network in a file of either kind."""
    try:
        with safe_open(path, "pt") as file:
            ours = "supernet" in (file.metadata() or {})
    except (OSError, SafetensorError):  # a file of torch.save, or one whose damage the reader names
        ours = False
    return load_supernet(path) if ours else import_checkpoint(path, space).net


def _check_fit(path: Path, net: Supernet, taken: dict[str, Tensor], needed: list[str]) -> None:
    """Raise `UserError` unless the file's tensors are those of `net`, by name and shape."""
    own, space = net.state_dict(), net.space.name
    if missing := [name for name in needed if name not in taken]:
        shape = _shape(own[missing[0]])
        raise UserError(f"{path} has no {missing[0]}; the space {space} needs it, of shape {shape}")
    if more := [name for name in taken if name not in own]:
        raise UserError(f"{path} has {more[0]} of shape {_shape(taken[more[0]])}; the space {space} has no such layer")
    for name, tensor in taken.items():
        if tensor.shape != own[name].shape:
            wanted = f"the space {space} needs {_shape(own[name])}"
            if own[name].dim() == 4 and tensor.shape[0] == own[name].shape[0] and net.channels == own[name].shape[1]:
                wanted += f", for {net.channels} input channels"
            raise UserError(f"{path}: {name} has shape {_shape(tensor)}; {wanted}")


def _differences(path: Path, theirs: SearchSpace, ours: SearchSpace) -> list[str]:
    """What shapes do not show: the network would compute something else with the same weights.

    Returns what may differ, in words. Raises `UserError` for another family or activation.
    """
    if theirs.family != ours.family:
        raise UserError(f"{path} is of the family {theirs.family}; expected {ours.family}, as the space {ours.name}")
    there, here = (dict(_flat(dataclasses.asdict(space))) for space in (theirs, ours))
    said = []
    for key in sorted(there.keys() & here.keys()):
        if there[key] == here[key] or key.rpartition(".")[2] in _CHOICES:
            continue
        if key.rpartition(".")[2] not in _MAY_DIFFER:
            raise UserError(f"{path} has {key} {there[key]}; expected {here[key]}, as the space {ours.name}")
        said.append(f"{key} is {there[key]} there and {here[key]} here")
    return said


def _flat(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """All values inside mappings and lists of mappings, by their keys: `stages[1].act`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{where}[{number}]")
    else:
        yield where, value


def _kernels(space: SearchSpace) -> list[list[int]]:
    return [stage.kernel for stage in space.stages]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "()"
