"""`deps track`: MLflow brought up to date from files."""

from __future__ import annotations

import os
import sys

import click


@click.command()
@click.option("--uri", help="MLflow store; default: MLFLOW_TRACKING_URI, or mlflow.db here.")
@click.option("--follow", "follows", is_flag=True, help="Pass on trainings while they run, until Ctrl-C.")
def track(uri: str | None, follows: bool) -> None:
    """Bring MLflow up to date from the result files; as often as you like."""
    if follows:
        from dεps.tracking.follow import NICE, follow

        os.nice(NICE)
        follow(uri)
        return
    from dεps.core.params import read_params
    from dεps.tracking.sync import track as bring_up_to_date

    if not bring_up_to_date(read_params(), uri):
        sys.exit(1)
