"""`deps publish`: results that travel with the repository."""

from __future__ import annotations

import click

from dεps.cli._names import complete_experiment
from dεps.core.console import plural, say
from dεps.core.errors import UserError


@click.command()
@click.argument("experiment", shell_complete=complete_experiment)
@click.option("--seeds", help="Such as 0,1; all of them must be finished. Default: those of params.yaml that are.")
@click.option("--study", is_flag=True, help="The study instead, which is one whole.")
def publish(experiment: str, seeds: str | None, study: bool) -> None:
    """Write finished seeds of EXPERIMENT, or its study, to reports/published/EXPERIMENT, for git.

    One row an evaluated arch, one a training, with histories, params and hashes: small text files, a folder a seed.
    Seeds of several machines make one set; results of other code, params or data are refused. It may run while
    'deps repro' trains further seeds.
    """
    from dεps.cli.parallel.dag import Dag
    from dεps.core.params import read_params
    from dεps.report.publishing.publish import publish as write
    from dεps.report.publishing.publish import publish_study
    from dεps.report.publishing.seed import PUBLISHED

    params, dag = read_params(), Dag()
    folder = PUBLISHED / experiment
    if study:
        if seeds:
            raise UserError("--study and --seeds exclude each other; a study has a seed of its own")
        new, trials = publish_study(params, experiment, dag.unfinished)
        say(f"{folder}/study: {'written' if new else 'as it was'}, {plural(trials, 'trial')}")
        say(f"git add {folder}")
        return
    for done in write(params, experiment, _numbers(seeds), dag.unfinished):
        place = f"{folder}/seed-{done.seed}"
        if done.what in ("new", "more", "same"):
            verb = {"new": "written", "more": "rows added", "same": "as it was"}[done.what]
            say(f"{place}: {verb}, {plural(done.archs, 'row')} of archs, {done.size / 1000:.0f} kB")
            if not done.complete:
                say(f"{place}: without what was trained alone, until reference@{experiment} has run for this seed")
        else:
            say(f"left out: {done.what}")
    say(f"git add {folder}")


def _numbers(text: str | None) -> list[int]:
    """The seeds in a list such as 0,1."""
    words = text.split(",") if text else []
    if wrong := [word for word in words if not word.strip().isdecimal()]:
        raise UserError(f"--seeds holds {wrong[0]!r}; expected whole numbers such as 0,1")
    return [int(word) for word in words]
