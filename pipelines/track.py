"""Stage `track`: everything that the other stages left, into MLflow; what training logged live is completed."""

from __future__ import annotations

from pathlib import Path

from dεps.core.files import write_json
from dεps.core.params import read_params
from dεps.core.process import guarded
from dεps.tracking.sync import instances, track

#: an output that git does not keep, or a new clone whose results equal those in dvc.lock would have no MLflow store
DONE = Path("reports/tracked.json")


def main() -> None:
    """Bring the store up to date. An unreachable store is a warning: results do not depend on it."""
    params = read_params()
    track(params)
    write_json(
        DONE, {"runs": [f"{context.experiment}/{context.stage}/{context.instance}" for context in instances(params)]}
    )


if __name__ == "__main__":
    guarded(main)
