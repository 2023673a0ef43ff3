"""safetensors files, with errors that name them. Files with a NaN or an infinity are neither written nor read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dεps.core.errors import UserError


def save_tensors(tensors: Mapping[str, Tensor], path: Path, description: tuple[str, Any] | None = None) -> None:
    """Write tensors, and `description`, a name and plain data. Raises `UserError` if a number is not finite."""
    # Only one entry: safetensors writes several in arbitrary order, which would change the bytes.
    metadata = None if description is None else {description[0]: json.dumps(description[1])}
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if name := not_finite(own):
        raise UserError(f"a file was not written: '{name}' has numbers that are not finite")
    try:
        save_file(own, path, metadata)
    except SafetensorError as error:
        if code := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from None
        raise


def read_tensors(path: Path, what: str, cure: str) -> dict[str, Tensor]:
    """Return a file's tensors. Raises `UserError` naming it if it is missing, damaged, or holds non-finite numbers."""
    try:
        _check_kind(path)
        tensors = load_file(path)
    except Exception as error:  # a damaged header can raise anything
        raise UserError(f"{path} is no readable {what} ({_reason(error)}); {cure}") from None
    if name := not_finite(tensors):
        raise UserError(f"{path} cannot be used: '{name}' has numbers that are not finite; {cure} again")
    return tensors


def _check_kind(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ValueError("a folder, or a pipe that would be waited for")


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a NaN, an infinity, or a number too large for float32; else None."""
    inexact = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() or tensor.is_complex()}
    bad = set[str]()
    for device in {tensor.device for tensor in inexact.values()}:
        names = [name for name, tensor in inexact.items() if tensor.device == device]
        # All in one go: asking a GPU for each answer would wait for it each time.
        finite = torch.stack([_wide(inexact[name]).isfinite().all() for name in names]).tolist()
        bad |= {name for name, good in zip(names, finite, strict=True) if not good}
    return next((name for name in inexact if name in bad), None)


def _wide(tensor: Tensor) -> Tensor:
    """Return it as float32, where too large numbers become infinite; float8 has no isfinite."""
    return tensor if tensor.is_complex() else tensor.float()


def read_description(path: Path, name: str, what: str, cure: str) -> dict[str, Any]:
    """Return the mapping called `name` in the header. Raises `UserError` if the file has none."""
    try:
        _check_kind(path)
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {})[name])
        if isinstance(description, dict):
            return description
        reason = f"'{name}' is no mapping"
    except Exception as error:  # a damaged header can raise anything
        reason = f"no '{name}'" if isinstance(error, KeyError) else _reason(error)
    raise UserError(f"{path} is no readable {what} ({reason}); {cure}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
