"""Hashes: of plain data, of bytes, of files. Some end in results and identities, so none may change its value."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

#: hexadecimal digits of a short hash
SHORT = 16


def digest(value: Any) -> str:
    """Short SHA-256 of plain data, whatever the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True).encode())[:SHORT]


def sha256(data: bytes) -> str:
    """SHA-256 in 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    """Short SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:SHORT]


def md5(path: Path) -> str:
    """MD5 of a file, as `dvc.lock` has it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
