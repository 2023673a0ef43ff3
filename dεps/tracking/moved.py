"""Repairs the absolute addresses in the local store after the project's folder was moved, renamed or copied."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from dεps.tracking.private import ADDRESSES

#: folder of artifacts beside the database
ARTIFACTS = "mlartifacts"
DATABASE = "mlflow.db"


def mend(root: Path) -> int:
    """Make addresses of a former folder in `root/mlflow.db` lead to `root`; returns how many. Raises `OSError`."""
    try:
        with closing(sqlite3.connect(root / DATABASE, timeout=60)) as database, database:
            return sum(_replace(database, old, root) for old in set(_former(database, root)))
    except sqlite3.Error as error:  # such as a full or read-only disk, reported as for any file
        raise OSError(f"{root / DATABASE}: {error}") from None


def _former(database: sqlite3.Connection, root: Path) -> Iterator[str]:
    """Yield the addresses of folders in which experiments of this store were created."""
    for name, location in database.execute("SELECT name, artifact_location FROM experiments"):
        end = f"/{ARTIFACTS}/{quote(name)}"
        if not location or not location.startswith("file:///") or not location.endswith(end):
            continue
        address = location.removesuffix(end)
        there = _path(address)
        meant = (there / ARTIFACTS / name).exists() and not (there / DATABASE).exists()  # such as another disk
        if address != root.as_uri() and not meant:
            yield address


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


def _replace(database: sqlite3.Connection, old: str, root: Path) -> int:
    changed = 0
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in ADDRESSES:
        # MLflow's default experiment has a path instead of an address.
        for before, after in ((old, root.as_uri()), (str(_path(old)), str(root))):
            if table in tables:
                command = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"  # noqa: S608
                values = (after, len(before) + 1, len(before) + 1, f"{before}/")
                changed += database.execute(command, values).rowcount
    return changed
