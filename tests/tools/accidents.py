"""What can happen to a file."""

from __future__ import annotations

from pathlib import Path


def cut(path: Path) -> None:
    """The second half is gone."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_in_header(path: Path) -> None:
    """All but a few bytes are gone."""
    path.write_bytes(path.read_bytes()[:11])


def empty(path: Path) -> None:
    """All is gone."""
    path.write_bytes(b"")


def text(path: Path) -> None:
    """Something else, such as a server's answer."""
    path.write_text("<!doctype html><title>404</title>\n")


def binary(path: Path) -> None:
    """Something else that is no text."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe" * 9)


def remove(path: Path) -> None:
    """It is not there."""
    path.unlink()


def as_folder(path: Path) -> None:
    """A folder has its name."""
    path.unlink()
    path.mkdir()


def flip(path: Path, position: int, bit: int = 0) -> None:
    """One bit has another value."""
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(data)


#: after which a file cannot be what it was
ACCIDENTS = [cut, cut_in_header, empty, text, binary, remove, as_folder]
