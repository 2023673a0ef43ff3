"""What a study is: the same digest always means the same results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dεps.core.hashing import digest

STAGE = "tune"
#: sections that its results depend on, beside `tuning`
_SECTIONS = ("space", "train", "full_model", "evaluate")


def study_digest(experiment: str, own: Mapping[str, Any], data_hash: str) -> str:
    """The identity of an experiment's study; `own` is the experiment's section of params."""
    return digest([experiment, STAGE, own["tuning"], [own[name] for name in _SECTIONS], data_hash])
