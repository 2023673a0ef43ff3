"""Typed access to pandas frames, whose own `frame[...]` may be a frame, a column or a single value."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column."""
    return cast(pd.Series, frame[name])


def columns(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Some columns, in the given order."""
    return cast(pd.DataFrame, frame[[*names]])


def rows_where(frame: pd.DataFrame, kept: Any) -> pd.DataFrame:
    """The rows for which `kept`, bool (rows,), is true."""
    return cast(pd.DataFrame, frame[kept])


def matching(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows in which each named column holds the given value."""
    kept = np.ones(len(frame), dtype=bool)
    for name, value in values.items():
        kept &= column(frame, name).eq(value).to_numpy()
    return rows_where(frame, kept)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict a row, from column names to plain Python values."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))
