"""`deps verify`: the results here against those of the commit."""

from __future__ import annotations

import click


@click.command()
@click.argument("experiment", required=False)
@click.pass_context
def verify(ctx: click.Context, experiment: str | None) -> None:
    """Compare results with those of the commit: the same bits, or numbers that seeds explain.

    After 'dvc repro', of EXPERIMENT, or of all that params.yaml selects. Exits with 1 where a number is off.
    """
    from dεps.core.errors import check_choice
    from dεps.core.params import read_params
    from dεps.report.results import all_results
    from dεps.report.verify import print_verifications, verify

    selected = {results.experiment: results for results in all_results(read_params())}
    if experiment is not None:
        check_choice(experiment, list(selected), "experiment")
        selected = {experiment: selected[experiment]}
    found = [verify(results) for results in selected.values()]
    print_verifications(found)
    if not all(one.holds for one in found):
        ctx.exit(1)
