"""`deps table`: published results as a table to ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dεps.cli._names import complete_experiment
from dεps.core.console import say
from dεps.core.errors import UserError


@click.command()
@click.argument("experiment", shell_complete=complete_experiment)
@click.option("--method", multiple=True, help="Several times; default: all.")
@click.option("--kind", multiple=True, help="pareto, population, front …; several times. Default: all.")
@click.option("--seed", multiple=True, type=click.IntRange(0), help="Several times; default: all.")
@click.option("--max-macs", help="Such as 3M, 3.5e6 or 1G.")
@click.option("--arch", help="This very arch: smallest, D2E3K7, k3e4-k5e3_…")
@click.option("--nearest", type=click.IntRange(1), metavar="N", help="The N archs nearest to --arch instead.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Default: reports/published.")
@click.option("--limit", default=40, show_default=True, type=click.IntRange(1), help="Rows to print.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all rows, one a seed, as CSV.")
def table(
    experiment: str, arch: str | None, nearest: int | None, folder: Path | None, limit: int, as_csv: bool, **which: Any
) -> None:
    """Print published accuracies of archs under each method, with their spread over seeds.

    Needs no training and no runs: rows of reports/published/EXPERIMENT, or of those that came with the package.
    """
    from dεps.report.publishing.benchmark import published
    from dεps.report.publishing.show import print_archs

    if nearest and not arch:
        raise UserError("--nearest says how many archs near --arch; name that too")
    benchmark = published(experiment, folder)
    rows = benchmark.nearest(str(arch), nearest, **which) if nearest else benchmark.rows(arch=arch, **which)
    if as_csv:
        say(rows.to_csv(index=False, lineterminator="\n").rstrip("\n"))
    else:
        print_archs(benchmark, rows, limit)
