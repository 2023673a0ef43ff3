"""`deps evaluate`: a supernet file on prepared data."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE, complete_experiment
from dεps.core.console import say


@click.command()
@click.argument("supernet", type=FILE)
@click.option(
    "--experiment",
    shell_complete=complete_experiment,
    help="Whose prepared data is used; default: the only one in params.yaml.",
)
@click.option("--split", default="validation", show_default=True, type=click.Choice(["validation", "test"]))
@click.option(
    "--arch",
    "archs",
    multiple=True,
    help="smallest, D2E3K7, k3e4-k5e3_…; several times. Default: the Pareto points and the least arch, as D2E3K3.",
)
@click.option("--ema", is_flag=True, help="The moving average of its weights, which train.ema adds.")
@click.option("--images", type=click.IntRange(1), help="So many images of the split; default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(
    supernet: Path,
    experiment: str | None,
    split: str,
    archs: tuple[str, ...],
    ema: bool,
    images: int | None,
    as_json: bool,
) -> None:
    """Measure archs of a supernet file on an experiment's prepared data, BN recalibrated."""
    from dεps.core.params import read_params
    from dεps.evaluation.assess import assess, print_assessment

    result = assess(supernet, read_params(), experiment, split, archs, images, ema)
    say(result.to_json()) if as_json else print_assessment(result)
