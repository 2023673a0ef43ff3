"""Unfinished work that a later process resumes: states of a training, finished parts of an evaluation, decoded images.

It lies below `.state/resume/<experiment>/<stage>/<instance>/<key>/`, where the key is a hash of all that decides the
result. A file's name contains the hash of its content, so damaged files are never used either.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dεps.core.console import say, warn
from dεps.core.files import replace_atomic
from dεps.core.hashing import SHORT, file_hash, sha256
from dεps.core.schema import checked


@checked
class CheckpointConfig:
    """The `checkpoint` section of params: how much work an interruption may cost. It does not affect results."""

    #: training saves its state after every so many epochs …
    epochs: Annotated[int, Field(ge=1, le=10**9)] = 1
    #: … and every long stage saves what it has after so many seconds, within an epoch too
    seconds: Annotated[float, Field(ge=0, le=10**9)] = 300.0


def work_folder(parent: Path, key: str, label: str, lead: bool = True) -> Path:
    """Return the folder for the work of that key below `parent`; remove unfinished work of other keys, and say so.

    With `lead` false nothing is touched, because another process of the same job does it.
    """
    if lead:
        others = [path for path in parent.glob("*") if path.name != key]
        if others:
            say(f"{label}: starts anew; what was unfinished had other parameters, data or code")
        for path in others:
            _remove(path)
        for path in (parent, parent / key):
            _make_folder(path)
    return parent / key


def _remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    """Create a folder, replacing a file if need be."""
    if not path.is_dir():
        _remove(path)
    path.mkdir(parents=True, exist_ok=True)


class Checkpoints:
    """Numbered files of one piece of work, each complete or absent, in the folder that `work_folder` returns.

    The next save is `due()` after so many seconds. The newest `keep` files are kept; None keeps all.
    """

    def __init__(self, folder: Path, seconds: float, keep: int | None = 2) -> None:
        self.folder, self.seconds, self.keep = folder, seconds, keep
        self.last = time.monotonic()

    def due(self) -> bool:
        """Tell whether it is time to save again."""
        return time.monotonic() - self.last >= self.seconds

    def save(self, number: int, write: Callable[[Path], object]) -> None:
        """Let `write` create the file with that number, and delete files that are no longer kept.

        Files with this number or a later one are deleted too: they are damaged, or follow a lost one.
        """
        _make_folder(self.folder)
        for path in self.files():
            if path.name >= f"{number:012d}":
                _remove(path)
        replace_atomic(self.folder / f"{number:012d}", write, lambda temporary: f"-{file_hash(temporary)}")
        for path in self.files()[: -self.keep] if self.keep is not None else ():
            _remove(path)
        self.last = time.monotonic()

    def intact(self) -> Iterator[tuple[int, Path]]:
        """Yield number and path of each undamaged file, newest first."""
        for path in reversed(self.files()):
            if path.is_file() and path.name.partition("-")[2] == file_hash(path):
                yield int(path.name.partition("-")[0]), path
            else:
                warn(f"{path} is damaged; the one before it is used")

    def files(self) -> list[Path]:
        """Return all files, damaged ones included, by ascending number."""
        return sorted(self.folder.glob("[0-9]*-*"))


class Journal:
    """Finished pieces of work, one line each, in the order they were finished.

    Several processes may share a folder: each appends to its own file, and `read` returns what all have written so far.
    """

    def __init__(self, folder: Path, part: int = 0) -> None:
        self.folder, self.path = folder, folder / f"{part}.jsonl"

    def read(self) -> dict[str, Any]:
        """Return what is finished, by name. Damaged lines are skipped."""
        rows: dict[str, Any] = {}
        for path in sorted(path for path in self.folder.glob("*.jsonl") if path.is_file()):
            for line in path.read_bytes().splitlines():
                known, _, text = line.partition(b" ")
                if known.decode("ascii", "replace") == _line_hash(text):
                    name, row = json.loads(text)
                    rows[name] = row
        return rows

    def add(self, name: str, row: Any) -> None:
        """Append one finished piece (plain data); it is on disk when this returns."""
        text = json.dumps([name, row], ensure_ascii=False).encode()
        # The line break comes first: a line that was cut short by a kill must not swallow this one.
        line = b"\n" + _line_hash(text).encode() + b" " + text
        _make_folder(self.folder)
        if not self.path.is_file():
            _remove(self.path)
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _line_hash(text: bytes) -> str:
    return sha256(text)[:SHORT]
