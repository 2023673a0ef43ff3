"""What a study is: the same digest always means the same results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dεps.core.hashing import digest
from dεps.workspace.decides import STAGES, deciding

STAGE = "tune"


def kernels(params: Mapping[str, Any]) -> dict[str, bool]:
    """What `params` say of the bits that a study computes with; nothing where that is usual, as in all before."""
    return {key: True for key in STAGES[STAGE].top if params.get(key)}


def study_digest(experiment: str, own: Mapping[str, Any], data_hash: str) -> str:
    """The identity of an experiment's study.

    `own` is the experiment's section of params, with the `kernels` of params as published sections have them.
    """
    bits, own = kernels(own), deciding(own)
    others = [own[name] for name in STAGES[STAGE].section_names() if name != "tuning"]
    return digest([experiment, STAGE, own["tuning"], others, data_hash, *([bits] if bits else [])])
