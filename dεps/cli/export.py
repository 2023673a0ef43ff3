"""`deps export`: a subnet to take away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dεps.cli._names import FILE, complete_experiment, model_file_options, supernet_options
from dεps.core.console import say


@click.command()
@click.argument("experiment", shell_complete=complete_experiment)
@supernet_options
@click.option("--max-macs", help="Such as 3M, 3.5e6 or 1G.")
@click.option("--max-params", help="Such as 200k; with --max-macs or alone.")
@click.option("--max-latency-ms", type=click.FloatRange(0, min_open=True), help="Milliseconds a call on this machine.")
@click.option("--arch", help="This very arch: smallest, D2E3K7, k3e4-k5e3_…")
@model_file_options("EXPERIMENT-METHOD-MACS.onnx")
@click.option("--int8", is_flag=True, help="Also in int8, as …-int8.onnx: accuracy, size and latency of both.")
@click.option("--engine", default="onnxruntime", show_default=True, help="Whose latency: onnxruntime (CPU) or torch.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024), help="That it may use.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 65536), help="Images of a call.")
@click.option("--table", type=FILE, help="Latency table; default: as deps latency.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def export(
    experiment: str,
    method: str | None,
    seed: int | None,
    out: Path | None,
    format: str,
    int8: bool,
    as_json: bool,
    **wish: Any,
) -> None:
    """Write the most accurate subnet under a budget as ONNX, torch.export, safetensors or LiteRT.

    Chosen on validation among what search finds. The file holds classes, preprocessing, arch, cost and accuracies, and
    is compared with PyTorch before it is kept.
    """
    from dεps.core.params import read_params
    from dεps.deploy.export.command import Wish, print_exported
    from dεps.deploy.export.command import export as write
    from dεps.deploy.latency.timing import Conditions

    conditions = Conditions(*(wish.pop(name) for name in ("engine", "threads", "batch")))
    result = write(read_params(), experiment, method, seed, Wish(conditions=conditions, **wish), format, out, int8)
    say(result.to_json()) if as_json else print_exported(result)
