"""Writes and reads training states as safetensors files, without pickle.

All randomness is a function of seed and step (`dεps.core.randomness`), so weights, momentum, position and history are
all that a run needs to go on bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from dεps.core.errors import UserError
from dεps.core.tensors import read_description, read_tensors, save_tensors


@dataclass
class Snapshot:
    """A training state: tensors (weights, momentum, losses of an unfinished epoch), step, MACs spent, records."""

    tensors: dict[str, Tensor]
    step: int
    macs: int
    history: list[dict[str, Any]] = field(default_factory=list)
    #: hash of what a trunk depends on (`dεps.training.run.origin`); empty for other states
    origin: str = ""


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a state; not atomically, which whoever keeps states sees to (`dεps.workspace.resume`)."""
    state = {"step": snapshot.step, "macs": snapshot.macs, "history": snapshot.history, "origin": snapshot.origin}
    save_tensors(snapshot.tensors, path, ("state", state))


def load_snapshot(path: Path) -> Snapshot:
    """Read a state. Raises `UserError` where the file is missing or damaged."""
    what, cure = "training state", "run the stage that writes it again"
    state, tensors = read_description(path, "state", what, cure), read_tensors(path, what, cure)
    for key, kind in (("step", int), ("macs", int), ("history", list), ("origin", str)):
        if not isinstance(state.get(key), kind):
            raise UserError(f"{path} is no readable {what} ('{key}' is missing or wrong); {cure}")
    return Snapshot(tensors, state["step"], state["macs"], state["history"], state["origin"])
