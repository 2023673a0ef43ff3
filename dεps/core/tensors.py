"""safetensors files, with errors that name them. No file with a NaN or an infinity is written, or read."""

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
    """Write, with plain data under one name in the header.

    Raises `OSError` where the disk is full or the like, `UserError` where a number is not finite.
    """
    # One entry only: safetensors writes several in an arbitrary order, which changes the bytes.
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
    """The tensors of a file. Raises `UserError` naming it where it is missing, damaged, or a number is not finite."""
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
    """Name of the first tensor that holds a NaN, an infinity, or more than float32 can; None where there is none."""
    inexact = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() or tensor.is_complex()}
    bad = set[str]()
    for device in {tensor.device for tensor in inexact.values()}:
        names = [name for name, tensor in inexact.items() if tensor.device == device]
        # All at once: each answer that is asked for would wait for a GPU.
        finite = torch.stack([_wide(inexact[name]).isfinite().all() for name in names]).tolist()
        bad |= {name for name, good in zip(names, finite, strict=True) if not good}
    return next((name for name in inexact if name in bad), None)


def _wide(tensor: Tensor) -> Tensor:
    """As float32, in which all is computed: what is too large for it becomes infinite; float8 knows no isfinite."""
    return tensor if tensor.is_complex() else tensor.float()


def read_description(path: Path, name: str, what: str, cure: str) -> dict[str, Any]:
    """The mapping of that name in the header. Raises `UserError` where the file has none."""
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
