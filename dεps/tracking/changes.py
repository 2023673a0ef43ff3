"""Tags that tell runs of one method and seed apart: their DVC experiment, and what was changed in params."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from dεps.core.errors import UserError
from dεps.workspace.decides import run_sections
from dεps.workspace.identity import FINETUNE, FULL_MODEL, STANDALONE, RunIdentity, finetuned_of, flatten

#: tags of a run: its name in `dvc exp show`, and its params that are not the preset's
EXPERIMENT_TAG, CHANGED_TAG = "dvc_experiment", "changed"
LONGEST = 500


def changed(identity: RunIdentity) -> dict[str, str]:
    """Return a tag that lists, as `key=value`, the params that differ from the preset's; empty if none does."""
    preset = _preset(identity.experiment)
    if preset is None:
        return {}
    sections = {key: preset[key] for key in run_sections()}
    if finetuned_of(identity.method):
        sections[FINETUNE] = preset[FINETUNE]
    elif identity.method != FULL_MODEL and not identity.method.startswith(f"{STANDALONE}-"):
        sections["method"] = preset["methods"].get(identity.method, {})
    usual = flatten(sections)
    own = {key: value for key, value in identity.params.items() if key.split(".")[0] in sections}
    text = ", ".join(f"{key}={value}" for key, value in own.items() if usual.get(key) != value)
    return {CHANGED_TAG: text if len(text) <= LONGEST else f"{text[:LONGEST]} …"} if text else {}


@cache
def _preset(name: str) -> Mapping[str, dict] | None:
    from dεps.workspace.presets import preset  # importing it takes seconds; do so only if something is new

    try:
        return preset(name)
    except UserError:  # the preset no longer exists
        return None
