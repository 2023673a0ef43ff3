"""Passes a running training's records on to MLflow, from a process of its own.

    python -m dεps.tracking.follow FILE PID

Ends when the file's end is marked or the training, process PID, is gone. When MLflow fails it warns once, which it
notes on its standard output for the training, and tries again now and then; `deps track` fills in what is left.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from dεps.core.console import warn
from dεps.workspace.address import reason, tracking_uri
from dεps.workspace.identity import RunIdentity
from dεps.workspace.live import WARNED, read_live

POLL = 0.5  # seconds
#: seconds between two attempts while MLflow fails: at first, and at most
PAUSE, LONGEST_PAUSE = 30.0, 600.0


def follow(path: Path, parent: int) -> None:
    """Log records as they appear, but for those that the store has. Raises whatever MLflow raises."""
    from dεps.tracking import place
    from dεps.tracking.store import Store, contradict, missing, record_metrics

    store = Store()
    header, _, _ = read_live(path)
    commit = header.pop("git_commit")
    identity = RunIdentity(**header)
    # A run that another working copy is at is left to it.
    run = store.find(identity, lambda run: run.info.status == "RUNNING" and place.is_elsewhere(run.data.tags))
    if run is not None and "deps.part.train" in run.data.tags:
        # The same run is trained once more (dvc repro --force, or changed code): its old record steps aside.
        store.client.delete_run(run.info.run_id)
        run = None
    run = run or store.create(identity, commit)
    run_id = run.info.run_id
    store.complete(run, identity)
    store.log(run_id, [], place.tags(path))
    store.client.update_run(run_id, status="RUNNING")
    points, logged = store.points(run), 0
    while True:
        alive = os.getppid() == parent
        _, entries, ended = read_live(path)
        metrics = [metric for entry in entries[logged:] for metric in record_metrics(entry["record"], entry["time"])]
        if contradict(points, metrics):
            # Its training was killed, and this one has other code: it steps aside too.
            store.client.delete_run(run_id)
            return follow(path, parent)
        store.log(run_id, missing(points, metrics))
        logged = len(entries)
        if ended or not alive:
            return store.client.set_terminated(run_id, "FINISHED" if ended else "KILLED")
        time.sleep(POLL)


def main() -> None:
    """Entry point of the process."""
    path, parent, pause, warned = Path(sys.argv[1]), int(sys.argv[2]), PAUSE, False
    while True:
        try:
            return follow(path, parent)
        except Exception as error:
            if not warned:
                _warn(error)
        warned = True
        if _is_over(path, parent, pause):
            return None
        pause = min(2 * pause, LONGEST_PAUSE)


def _warn(error: Exception) -> None:
    why = reason(error, tracking_uri())
    warn(f"MLflow is not followed ({why}); 'deps track' completes its store")
    with suppress(OSError):  # the training is gone
        os.write(sys.stdout.fileno(), WARNED)


def _is_over(path: Path, parent: int, pause: float) -> bool:
    """Wait so many seconds, or until the training has ended, which is returned."""
    until = time.monotonic() + pause
    while time.monotonic() < until:
        if os.getppid() != parent or read_live(path)[2]:
            return True
        time.sleep(POLL)
    return False


if __name__ == "__main__":
    main()
