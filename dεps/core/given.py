"""Files that params name: each is known by its content, so params hold the path and beside it the SHA-256.

`deps params` fills the hash in, as `<key>_sha256`. The path is from the workspace on, which DVC_ROOT names in the
copies of DVC's queue.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from dεps.core.errors import UserError
from dεps.core.hashing import SHORT, file_sha256
from dεps.core.schema import rule

#: SHA-256 of a file
Hash = Annotated[str, rule(re.compile("[0-9a-f]{64}").fullmatch, "expected a SHA-256, 64 hexadecimal digits")]


def given_sha256(name: str, where: str, expected: str) -> str:
    """SHA-256 of the file `name`. Raises `UserError` naming the key `where` if it can't be read, and what to give."""
    path = _place(name)
    if path.exists() and not path.is_file():
        raise UserError(f"{where}: {name} is no file; expected {expected}")
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(f"{where}: {name} cannot be read ({error.strerror}); expected {expected}") from None


def given_file(name: str, sha256: str | None, where: str, expected: str) -> Path:
    """Path of the file `name`; as `given_sha256`, and `UserError` if its content has another hash than `sha256`."""
    found, key = given_sha256(name, where, expected), where.rpartition(".")[2]
    if sha256 not in (None, found):
        there = f"{where}: {name} is another file than {key}_sha256 names"
        cure = f"with {key}_sha256=null 'deps params' takes it, and what it decides is made anew"
        raise UserError(f"{there} (SHA-256 {found[:SHORT]}…, expected {str(sha256)[:SHORT]}…); {cure}")
    return _place(name)


def _place(name: str) -> Path:
    return Path(os.environ.get("DVC_ROOT") or "") / name
