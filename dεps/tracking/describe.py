"""Writes notes, kinds and saved views into the store, but only those that have changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from dεps.data.manifest import prepared_folder, read_manifest
from dεps.tracking.notes import PARAMS_FOLDER, PART_TAG, Note, experiment_tags
from dεps.tracking.private import NOTE_TAG
from dεps.tracking.store import Store
from dεps.tracking.views import KIND
from dεps.workspace.identity import digest

#: an experiment's tag with a digest of the tags that were written, so that later changes made in the UI stay
EXPERIMENT_TAG = "mlflow.depsWritten"


def describe_run(store: Store, run: Run, note: Note, tags: Callable[[], Mapping[str, str]] = dict) -> bool:
    """Give a run this note with its kind and params file, and `tags`; returns False if it already has the note."""
    if run.data.tags.get(PART_TAG) == note.content:
        return False
    run_id, commit = run.info.run_id, run.data.tags.get("git_commit", "unknown")
    if note.params:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, note.params_name)
            path.write_text(note.params, "utf-8")
            store.client.log_artifact(run_id, str(path), PARAMS_FOLDER)
    text = note.text(run.info.experiment_id, run_id, commit)
    store.log(run_id, [], {NOTE_TAG: text, KIND: note.kind, PART_TAG: note.content, **tags()})
    return True


def describe_experiment(store: Store, params: Mapping[str, Any], name: str, run_id: str | None) -> None:
    """Give an experiment its description and the saved view of its methods.

    `run_id` names a run that has the experiment's figures.
    """
    found = store.client.get_experiment_by_name(name)
    manifest = read_manifest(prepared_folder(name))
    tags = experiment_tags(params, name, manifest, found.experiment_id, run_id)
    written = digest(tags)
    if found.tags.get(EXPERIMENT_TAG) == written:
        return
    for key, value in (tags | {EXPERIMENT_TAG: written}).items():
        if found.tags.get(key) != value:
            store.client.set_experiment_tag(found.experiment_id, key, value)
