"""`deps exp`: `dvc exp show` with the columns that matter."""

from __future__ import annotations

import os
import sys

import click

#: kept where all rows have the same, left out though rows differ: dependencies, which params and code decide
RESULTS, FILES = r".*\b(mean_top1|smallest_top1|train_tmacs)$", r"(dεps|pipelines|runs|reports|params)(/.*)?$"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def exp(options: tuple[str, ...]) -> None:
    """Compare DVC's experiments: results, and the params in which they differ. OPTIONS are those of 'dvc exp show'.

    That command has a column for every param and every dependency of the pipeline, which are hundreds.
    """
    own = ("--only-changed", "--keep", RESULTS, "--drop", FILES)
    if not sys.stdout.isatty():
        os.environ.setdefault("COLUMNS", "400")  # else DVC cuts the table as for a narrow terminal
    os.execv(sys.executable, [sys.executable, "-m", "dvc", "exp", "show", *own, *options])  # noqa: S606 - no shell
