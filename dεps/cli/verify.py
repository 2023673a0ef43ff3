"""`deps verify`: the results here against those of the commit."""

from __future__ import annotations

from collections.abc import Collection

import click


@click.command()
@click.argument("experiment", required=False)
@click.pass_context
def verify(ctx: click.Context, experiment: str | None) -> None:
    """Compare results with those of the commit: the same bits, or numbers that seeds explain.

    After 'dvc repro', of EXPERIMENT, or of all that params.yaml selects. Says too what 'git status' shows, and why.
    Exits with 1 where a number is off, with 2 where nothing can be compared.
    """
    from dεps.core.console import say
    from dεps.core.errors import UserError, check_choice
    from dεps.core.params import read_params
    from dεps.report.results import all_results
    from dεps.report.verify import git_status, print_verifications, verify

    selected = {results.experiment: results for results in all_results(read_params())}
    if experiment is not None:
        check_choice(experiment, list(selected), "experiment")
        selected = {experiment: selected[experiment]}
    try:
        found = [verify(results, _changed) for results in selected.values()]
    except UserError:
        if text := git_status([]):
            say(text)
        raise
    print_verifications(found)
    if text := git_status(found):
        say(text)
    if not all(one.holds for one in found):
        ctx.exit(1)


def _changed(names: Collection[str]) -> set[str]:
    """Those of some items whose code, params or inputs are not what dvc.lock says; outputs may be missing."""
    from dεps.cli.parallel.dag import Dag

    dag = Dag(allow_missing=True)
    return dag.changed(set(dag.order).intersection(names))
