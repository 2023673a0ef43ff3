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
    """A training state at a step: tensors `net.*` and `momentum.*`, MACs spent so far, and one record an epoch."""

    tensors: dict[str, Tensor]
    step: int
    macs: int
    history: list[dict[str, Any]] = field(default_factory=list)


def save_snapshot(path: Path, snapshot: Snapshot, key: str = "") -> None:
    """Write atomically. `key` names what the state depends on; `load_snapshot` compares it."""
    state = {"key": key, "step": snapshot.step, "macs": snapshot.macs, "history": snapshot.history}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in snapshot.tensors.items()}
    # One metadata entry only: safetensors writes several in an arbitrary order, which changes the bytes.
    replace_atomic(path, lambda temporary: save_file(tensors, temporary, {"state": json.dumps(state)}))


def load_snapshot(path: Path, key: str = "") -> Snapshot:
    """Read a state. Raises `UserError` where the file is missing, damaged, or was written for another key."""
    try:
        with safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no readable training state ({error})") from None
    if state["key"] != key:
        raise UserError(f"{path} belongs to other parameters; delete it")
    return Snapshot(tensors, state["step"], state["macs"], state["history"])
