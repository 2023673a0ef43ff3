"""`deps finetune`: a subnet that trains on."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from dεps.cli._names import complete_experiment, model_file_options, supernet_options
from dεps.core.console import say


@click.command()
@click.argument("experiment", shell_complete=complete_experiment)
@supernet_options
@click.option("--max-macs", help="Such as 3M, 3.5e6 or 1G.")
@click.option("--arch", help="This very arch: smallest, D2E3K7, k3e4-k5e3_…")
@click.option("--epochs", type=click.IntRange(1), help="Default: finetune.epochs of params.yaml.")
@click.option("--teacher", help="labels or full_model. Default: finetune.teacher of params.yaml.")
@click.option("--learning-rate-ratio", type=float, help="Of train.learning_rate. Default: that of params.yaml.")
@model_file_options("EXPERIMENT-METHOD-MACS-finetuned.onnx")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def finetune(
    experiment: str,
    method: str | None,
    seed: int | None,
    max_macs: str | None,
    arch: str | None,
    out: Path | None,
    format: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Train the most accurate subnet under a budget on, from the supernet's weights, and write it as a model file.

    Chosen as deps export does. The same command goes on where an interrupted one was.
    """
    from dεps.core.params import read_params
    from dεps.deploy.export.command import Wish
    from dεps.deploy.finetune.command import finetune as write
    from dεps.deploy.finetune.command import print_finetuned

    known = {key: value for key, value in given.items() if value is not None}
    wish = Wish(max_macs=max_macs, arch=arch)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # what is said of progress
        result = write(read_params(), experiment, method, seed, wish, known, format, out)
    say(result.to_json()) if as_json else print_finetuned(result)
