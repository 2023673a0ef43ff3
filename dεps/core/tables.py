"""Typed access to pandas frames, whose own `frame[...]` may be a frame, a column or a number."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd


def matching(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows in which each named column holds the given value, in their order."""
    kept = np.ones(len(frame), dtype=bool)
    for name, value in values.items():
        kept &= column(frame, name).eq(value).to_numpy()
    return cast(pd.DataFrame, frame[kept])


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """One column."""
    return cast(pd.Series, frame[name])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict a row, column names to plain Python values."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
