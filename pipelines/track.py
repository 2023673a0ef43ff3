"""Stage `track`: everything that the other stages left, into MLflow; what training logged live is completed."""

from __future__ import annotations

from dεps.config import read_params
from dεps.stage import guarded
from dεps.tracking.sync import track


def main() -> None:
    """Bring the store up to date. An unreachable store is a warning: results do not depend on it."""
    track(read_params())


if __name__ == "__main__":
    guarded(main)
