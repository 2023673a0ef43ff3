"""`deps ui`: MLflow's UI over the store."""

from __future__ import annotations

import click


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others can read then.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(host: str, port: int) -> None:
    """Open the store with MLflow's UI, after links to where methods are compared; Ctrl-C ends it."""
    from dεps.tracking.ui import serve

    serve(host, port)
