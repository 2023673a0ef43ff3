"""`deps show`: the results tables."""

from __future__ import annotations

import click

from dεps.core.console import say


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all metrics as JSON instead of tables.")
def show(as_json: bool) -> None:
    """Print the results tables and where the report is."""
    if as_json:
        from dεps.core.params import read_params
        from dεps.report.results import to_json

        say(to_json(read_params()))
    else:
        from dεps.report.tables import print_results

        print_results()
