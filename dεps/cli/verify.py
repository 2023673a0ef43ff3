"""`deps verify`: the results here against those of the commit."""

from __future__ import annotations

from collections.abc import Collection

import click


@click.command()
@click.argument("experiment", required=False)
@click.pass_context
def verify(ctx: click.Context, experiment: str | None) -> None:
    """Compare results with those of the commit: the same bits, or numbers that seeds explain.

    After 'dvc repro', of EXPERIMENT, or of all that params.yaml selects. Where the commit's dvc.lock has no results of
    one, with its published seeds. Says too what 'git status' shows, and why. Exits with 1 where a number is off, with 2
    where nothing can be compared.
    """
    from dεps.core.console import say
    from dεps.core.errors import UserError, check_choice
    from dεps.core.params import read_params
    from dεps.report.publishing.seed import PUBLISHED, seed_folders
    from dεps.report.results import Results, all_results
    from dεps.report.verify.commit import has_results, verify
    from dεps.report.verify.git import git_status
    from dεps.report.verify.published import verify_published
    from dεps.report.verify.verification import Verification, print_verifications

    params = read_params()

    def verified(results: Results) -> Verification:
        name = results.experiment
        if seed_folders(PUBLISHED / name) and not has_results(name):
            return verify_published(params, name, _unfinished)
        return verify(results, _changed)

    selected = {results.experiment: results for results in all_results(params)}
    if experiment is not None:
        check_choice(experiment, list(selected), "experiment")
        selected = {experiment: selected[experiment]}
    try:
        found = [verified(results) for results in selected.values()]
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


def _unfinished(names: Collection[str]) -> set[str]:
    """As `_changed`, and those that DVC's graph has not."""
    from dεps.cli.parallel.dag import Dag

    return Dag(allow_missing=True).unfinished(names)
