"""`deps show`: the report as text."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE
from dεps.core.console import say
from dεps.core.errors import UserError


@click.command()
@click.argument("what", type=click.Choice(["results", "claims", "archs", "study", "all"]), default="results")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON instead of tables.")
@click.option(
    "--into", type=FILE, help="Write tables between lines of this file too: <!-- claims … --> or <!-- results … -->."
)
def show(what: str, as_json: bool, into: Path | None) -> None:
    """Print the report as text, of what is published and what params.yaml selects.

    'results': the tables, and where the report is. 'claims': what the results say of the papers' claims. 'archs': what
    search has found. 'study': the tuning study. 'all': all of them.
    """
    from dεps.report import shown

    if into and what not in ("claims", "results"):
        raise UserError(f"--into is {into} with {what}; expected deps show claims --into {into}, or deps show results")
    if as_json and what == "all":
        raise UserError("--json prints one of results, claims, archs, study; expected one of them instead of all")
    if into:
        from dεps.report.blocks import read_text

        read_text(into, f"<!-- {what}: … -->")  # before what takes long
    if what in ("results", "all"):
        _results(as_json, into if what == "results" else None)
    if what in ("claims", "all"):
        _claims(as_json, into)
    if what in ("archs", "all"):
        say(shown.archs_json()) if as_json else shown.print_archs()
    if what in ("study", "all"):
        say(shown.study_json()) if as_json else shown.print_study()


def _results(as_json: bool, into: Path | None) -> None:
    if as_json:
        from dεps.report.shown import results_json

        say(results_json())
    else:
        from dεps.report.shown import print_results

        print_results()
    if into:
        from dεps.report.blocks import write_results
        from dεps.report.publishing.results import published_results

        write_results(into, published_results())


def _claims(as_json: bool, into: Path | None) -> None:
    from dεps.core.params import PARAMS, read_params
    from dεps.planning.claims import training_cost
    from dεps.report.claims import print_claims, rows, to_json, without_repeats, write_between
    from dεps.report.publishing.results import is_published, published_results
    from dεps.report.results import all_results

    selected = all_results(read_params()) if PARAMS.exists() else []
    published = published_results()
    here = [one for one in selected if one.folder.exists() and not is_published(one, published)]
    found = rows([*published, *here], training_cost)
    say(to_json(found)) if as_json else print_claims(found)
    if into:
        write_between(into, without_repeats(found, published))
