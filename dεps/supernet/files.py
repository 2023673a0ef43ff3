"""Supernet files: weights as safetensors, with everything needed to build the network in the metadata."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from dεps.config import structured
from dεps.errors import UserError
from dεps.files import replace_atomic
from dεps.search_space import SearchSpace
from dεps.supernet.network import Supernet


def save_supernet(net: Supernet, path: Path, choices: SearchSpace | None = None) -> None:
    """Write `net` so that `load_supernet` needs nothing else; the same network gives the same bytes.

    `choices` is the part of the space whose archs were trained; default: all of it.
    """
    description = {
        "choices": dataclasses.asdict(choices or net.space),
        "space": dataclasses.asdict(net.space),
        "classes": net.classes,
        "channels": net.channels,
        "kernel_transform": net.kernel_transform,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    replace_atomic(path, lambda temporary: save_file(tensors, temporary, {"supernet": json.dumps(description)}))


def load_supernet(path: Path) -> Supernet:
    """The network of a file. Raises `UserError` naming it where it is missing, damaged or of another form."""
    try:
        with safe_open(path, "pt") as file:
            description = json.loads(file.metadata()["supernet"])
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no readable supernet ({error}); run the stage that writes it") from None
    space = structured(SearchSpace, description.pop("space"), f"{path}: space")
    choices = structured(SearchSpace, description.pop("choices"), f"{path}: choices")
    net = Supernet(space, **description)
    net.choices = choices
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its own description: {' '.join(str(error).split())[:200]}") from None
    return net
