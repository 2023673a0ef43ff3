"""Tags that tell runs of one method and seed apart: their DVC experiment, and what was changed in params."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from dεps.core.errors import UserError
from dεps.workspace.decides import run_sections
from dεps.workspace.identity import FINETUNE, FULL_MODEL, STANDALONE, RunIdentity, finetuned_of, flatten

#: tags of a run: its name in `dvc exp show`, and its params that are not the preset's
EXPERIMENT_TAG, CHANGED_TAG = "dvc_experiment", "changed"
LONGEST = 500


def changed(identity: RunIdentity) -> dict[str, str]:
    """Return a tag that lists, as `key=value`, the params that differ from the preset's; empty if none does."""
    composed = _composed(identity.experiment)
    if composed is None:
        return {}
    preset = composed["experiments"][identity.experiment]
    # An identity says of it only that it is on.
    portable = {"portable": bool(composed.get("portable"))}
    sections = {key: preset[key] for key in run_sections()} | portable
    if finetuned_of(identity.method):
        sections[FINETUNE] = preset[FINETUNE]
    elif identity.method != FULL_MODEL and not identity.method.startswith(f"{STANDALONE}-"):
        sections["method"] = preset["methods"].get(identity.method, {})
    usual, params = flatten(sections), flatten({"portable": False}) | identity.params
    own = {key: value for key, value in params.items() if key.split(".")[0] in sections}
    text = ", ".join(f"{key}={value}" for key, value in own.items() if usual.get(key) != value)
    return {CHANGED_TAG: text if len(text) <= LONGEST else f"{text[:LONGEST]} …"} if text else {}


@cache
def _composed(name: str) -> Mapping[str, Any] | None:
    """Return the params of a preset without overrides; None if there is none of that name."""
    from dεps.workspace.presets import unchecked  # importing it takes seconds; do so only if something is new

    try:
        return unchecked([f"experiment=[{name}]"])[0]
    except UserError:  # the preset no longer exists
        return None
