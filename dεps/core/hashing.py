"""Hashes of plain data, bytes and files. Results and identities contain them, so their values must never change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

#: hexadecimal digits of a short hash
SHORT = 16


def digest(value: Any) -> str:
    """Return a short SHA-256 of plain data; the order of keys does not matter."""
    return sha256(json.dumps(value, sort_keys=True).encode())[:SHORT]


def sha256(data: bytes) -> str:
    """Return the SHA-256 in 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_hash(path: Path) -> str:
    """Return a short SHA-256 of a file's content."""
    return file_sha256(path)[:SHORT]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: Path) -> str:
    """Return the MD5 of a file's content, which `dvc.lock` records."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
