"""What a study is: the same digest always means the same results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dεps.core.hashing import digest
from dεps.workspace.decides import STAGES, deciding

STAGE = "tune"


def study_digest(experiment: str, own: Mapping[str, Any], data_hash: str) -> str:
    """The identity of an experiment's study; `own` is the experiment's section of params."""
    own = deciding(own)
    others = [own[name] for name in STAGES[STAGE].section_names() if name != "tuning"]
    return digest([experiment, STAGE, own["tuning"], others, data_hash])
