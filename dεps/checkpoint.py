"""Training states as safetensors files: weights, momentum, position, history. Nothing is unpickled.

All randomness is a function of the step (`dεps.randomness`), so this is all that a run needs to go on bit for bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dεps.errors import UserError
from dεps.files import replace_atomic


@dataclass
class Snapshot:
    """A training state at a step: weights, momentum, losses of an unfinished epoch; MACs spent; a record an epoch."""

    tensors: dict[str, Tensor]
    step: int
    macs: int
    history: list[dict[str, Any]] = field(default_factory=list)


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write atomically."""
    replace_atomic(path, lambda temporary: write_snapshot(temporary, snapshot))


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write."""
    state = {"step": snapshot.step, "macs": snapshot.macs, "history": snapshot.history}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
    # One metadata entry only: safetensors writes several in an arbitrary order, which changes the bytes.
    save_file(tensors, path, {"state": json.dumps(state)})


def load_snapshot(path: Path) -> Snapshot:
    """Read a state. Raises `UserError` where the file is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
        return Snapshot(load_file(path), state["step"], state["macs"], state["history"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no readable training state ({error})") from None
