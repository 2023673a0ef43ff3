"""`deps latency`: what a space's archs take on this machine."""

from __future__ import annotations

from typing import Any

import click

from dεps.cli._names import FILE, complete_experiment
from dεps.core.console import say


@click.command()
@click.argument("experiment", required=False, shell_complete=complete_experiment)
@click.option("--space", help="A space in params/space, instead of an experiment's.")
@click.option("--classes", type=click.IntRange(1, 100_000), help="Default: those of the data; with --space 10.")
@click.option("--channels", type=click.IntRange(1, 1024), help="Default: those of the data; with --space 3.")
@click.option("--engine", default="onnxruntime", show_default=True, help="onnxruntime (CPU) or torch.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024), help="That it may use.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 65536), help="Images of a call.")
@click.option(
    "--arch", "archs", multiple=True, help="Predict its latency: smallest, D2E3K7, k3e4-k5e3_…; several times."
)
@click.option("--unseen", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Archs for the error.")
@click.option("--out", type=FILE, help="The table's .json; default: in .state.")
@click.option("--again", is_flag=True, help="Measure even where there is a table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def latency(experiment: str | None, engine: str, threads: int, batch: int, as_json: bool, **asked: Any) -> None:
    """Measure a space's layers on this machine, and predict what its archs take.

    The table of layers is kept and used again, by `deps export --max-latency-ms` too.
    """
    from dεps.core.params import read_params
    from dεps.deploy.latency.command import latency as measure
    from dεps.deploy.latency.command import print_latency
    from dεps.deploy.latency.timing import Conditions

    params = read_params() if experiment else None
    result = measure(params, experiment, conditions=Conditions(engine, threads, batch), **asked)
    say(result.to_json()) if as_json else print_latency(result)
