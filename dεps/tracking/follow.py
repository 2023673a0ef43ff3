"""Passes a running training's records on to MLflow, from a process of its own.

    python -m dεps.tracking.follow FILE

Ends when the file's end is marked or the training is gone. Gives up with one warning when MLflow cannot be reached:
`deps track` fills in the rest from the result files.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from dεps.identity import RunIdentity
from dεps.live import read_live

POLL = 0.5  # seconds


def follow(path: Path, parent: int) -> None:
    """Log records as they appear. Raises whatever MLflow raises."""
    from dεps.tracking.store import Store, record_metrics

    store = Store()
    header, _, _ = read_live(path)
    commit = header.pop("git_commit")
    identity = RunIdentity(**header)
    run = store.find(identity)
    if run is not None and "deps.part.train" in run.data.tags:
        # The same run is trained once more (dvc repro --force, or changed code): its old record steps aside.
        store.client.delete_run(run.info.run_id)
        run = None
    run = run or store.create(identity, commit)
    run_id = run.info.run_id
    store.client.update_run(run_id, status="RUNNING")
    logged = 0
    while True:
        alive = os.getppid() == parent
        _, entries, ended = read_live(path)
        metrics = [metric for entry in entries[logged:] for metric in record_metrics(entry["record"], entry["time"])]
        store.log(run_id, metrics)
        logged = len(entries)
        if ended or not alive:
            store.client.update_run(run_id, status="FINISHED" if ended else "KILLED")
            return
        time.sleep(POLL)


def main() -> None:
    """Entry point of the process."""
    try:
        follow(Path(sys.argv[1]), os.getppid())
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        print(f"warning: MLflow is not followed ({reason}); 'deps track' completes its store", file=sys.stderr)


if __name__ == "__main__":
    main()
