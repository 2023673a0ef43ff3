"""Reads CSV files of results; whatever is wrong with one is an error that names it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dεps.core.errors import UserError
from dεps.core.hashing import file_hash
from dεps.core.tables import column


def read_table(
    path: Path, numbers: Sequence[str] = (), texts: Sequence[str] = (), empty: bool = False, verbatim: bool = False
) -> pd.DataFrame:
    """Read a CSV file: finite `numbers`, `texts`, rows unless it may be `empty`. Raises `UserError` naming the file.

    With `verbatim` texts stay what they are, though they look like numbers or like pandas' NA: names of classes do.
    """
    try:
        options: dict[str, Any] = {}
        if verbatim:
            others = set(pd.read_csv(path, nrows=0).columns) - set(texts)
            options = {"dtype": dict.fromkeys(texts, str), "keep_default_na": False}
            options["na_values"] = dict.fromkeys(others, "")
        table = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:  # pandas' own errors, and those of decoding, are ValueErrors
        raise UserError(f"{path} cannot be read ({error}); {CURE}") from None
    if missing := [name for name in (*numbers, *texts) if name not in table]:
        raise UserError(f"{path} has no column '{missing[0]}'; {CURE}")
    if table.empty:
        if empty:
            return table
        raise UserError(f"{path} has no rows; {CURE}")
    for name in numbers:
        values = column(table, name)
        if not pd.api.types.is_numeric_dtype(values) or not (values.abs() <= 1e300).to_numpy().all():
            raise UserError(f"{path}: column '{name}' holds what is no number; {CURE}")
    for name in texts:
        if not all(isinstance(value, str) for value in column(table, name)):
            raise UserError(f"{path}: column '{name}' holds what is no text; {CURE}")
    return table


CURE = "run 'dvc repro', which writes it again"


def weights_stamp(weights: Path) -> str:
    """Return what a table's column `weights` says of a file, never a number. Raises `UserError` if there is none."""
    if not weights.is_file():
        raise UserError(f"{weights} is missing; {CURE}")
    return stamp_of(file_hash(weights))


def stamp_of(sha256: str) -> str:
    """Return what a column says of a file with that hash, never a number."""
    return f"sha256:{sha256}"


def check_weights(table: pd.DataFrame, path: Path, weights: Path) -> None:
    """Raise `UserError` if a table says that it was measured with other weights than are there."""
    if "weights" in table and weights.exists() and set(table.weights) != {weights_stamp(weights)}:
        raise UserError(f"{path} was measured with other weights than {weights}; {CURE}")
