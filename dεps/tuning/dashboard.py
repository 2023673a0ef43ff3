"""Shows a study's best trial in optuna-dashboard: notes of study and trial, and its `best.yaml` to download.

The file is an artifact of the study, because a finished trial takes none. All of it is written to the study's database
and to a folder beside it; no result depends on it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from dεps.core.tables import matching, records
from dεps.tuning.outputs import best_yaml, finished_trials
from dεps.tuning.private import resumed
from dεps.tuning.study import Plan

#: study attribute: number of the trial that has the note now
NOTED = "noted"
#: what makes notes where it is not there
INSTALL = "pip install 'deps-workbench[dashboard]'"


def artifacts(plan: Plan) -> Path:
    """Folder of the study's artifacts, for `optuna-dashboard --artifact-dir`."""
    return plan.state / "artifacts"


def show_best(plan: Plan, study: optuna.Study, experiment: str, table: pd.DataFrame, summary: dict[str, Any]) -> bool:
    """Note the best trial of `table` and attach its parameters to the study; the same again changes nothing.

    Returns whether notes could be made, which takes the package optuna-dashboard; the artifact does not.
    """
    rows = records(matching(table, best=True))
    if not rows:
        return True
    text = best_yaml(plan.config, experiment, table, summary)
    trial = finished_trials(study, len(table))[rows[0]["trial"]]
    _attach(plan, study, f"best-of-{len(table)}.yaml", text)
    try:
        from optuna_dashboard import get_note, save_note
    except ImportError:
        return False
    said = f"**Best of {len(table)} trials**\n\n```yaml\n{text}```\n"
    earlier = study.user_attrs.get(NOTED)
    if earlier not in (None, trial.number):
        save_note(resumed(study, study.trials[earlier]), "")
    head = f"The best of {len(table)} trials is number {trial.number}.\n\n"
    for where, body in ((study, head + said), (resumed(study, trial), said)):
        if get_note(where) != body:
            save_note(where, body)
    study.set_user_attr(NOTED, trial.number)
    return True


def _attach(plan: Plan, study: optuna.Study, name: str, text: str) -> None:
    """Make `text` an artifact of the study called `name`, unless it has one that says the same."""
    artifacts(plan).mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(artifacts(plan)))
    for known in get_all_artifact_meta(study):
        kept = artifacts(plan) / known.artifact_id  # another machine's is not here
        if known.filename == name and (not kept.is_file() or kept.read_text("utf-8") == text):
            return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, "utf-8")
        upload_artifact(
            artifact_store=store,
            file_path=str(path),
            study_or_trial=study,
            mimetype="application/yaml",
            encoding="utf-8",
        )
