"""`deps track`: MLflow brought up to date from files."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--uri", help="MLflow store; default: MLFLOW_TRACKING_URI, or mlflow.db here.")
def track(uri: str | None) -> None:
    """Bring MLflow up to date from the result files; as often as you like."""
    from dεps.core.params import read_params
    from dεps.tracking.sync import track as bring_up_to_date

    if not bring_up_to_date(read_params(), uri):
        sys.exit(1)
