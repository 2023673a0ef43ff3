"""Files that are either complete or absent: they are written next to their place, then renamed."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dεps.core.errors import UserError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace `path` by a file with this content; readers see either the old file or the new one."""
    replace_atomic(path, lambda temporary: temporary.write_bytes(data.encode() if isinstance(data, str) else data))


def replace_atomic(
    path: Path, write: Callable[[Path], object], suffix: Callable[[Path], str] = lambda temporary: ""
) -> None:
    """Move what `write` creates to `path`, with what `suffix` makes of it appended, once it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path.with_name(path.name + suffix(temporary)))
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the rename survives a power cut
        finally:
            os.close(descriptor)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):
            error.filename = str(path)  # the one that the user knows
        raise


@contextmanager
def output_folder(path: Path, scratch: Path) -> Iterator[Path]:
    """Yield an empty folder in `scratch`, on the same disk, that becomes `path` if the block succeeds, or goes."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="out-") as name:
        folder = Path(name) / "out"
        folder.mkdir()
        try:
            yield folder
        except OSError as error:
            error.filename = error.filename or str(path)  # a full disk reports no file
            raise
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(path)


def write_json(path: Path, data: Any) -> None:
    """Write JSON in a stable form: the same data gives the same bytes."""
    write_atomic(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, writer: str = "the stage that writes it") -> dict[str, Any]:
    """Return the mapping in a JSON file. Raises `UserError` naming the file if it is unreadable or no mapping."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); run {writer}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no mapping; run {writer} again")
    return data


def read_numbers(path: Path, *keys: str, alone: bool = True) -> dict[str, Any]:
    """Return a JSON file's finite numbers by name, `keys` included. Raises `UserError` naming the file otherwise.

    Unless they are `alone`, values of other keys may be anything.
    """
    data = read_json(path)
    for key in (*keys, *data) if alone else keys:
        value = data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{path}: '{key}' is missing or no number; run the stage that writes it again")
    return data


def read_records(path: Path, *keys: str) -> list[dict[str, Any]]:
    """Return JSON lines, mappings with numbers under `keys`. Raises `UserError` naming the file otherwise."""
    try:
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); run 'dvc repro'") from None
    for number, record in enumerate(records or [None], 1):
        if not isinstance(record, dict) or not all(isinstance(record.get(key), int | float) for key in keys):
            raise UserError(f"{path} is damaged: line {number} lacks {', '.join(keys)}; run 'dvc repro'")
    return records
