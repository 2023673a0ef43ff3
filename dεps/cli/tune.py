"""`deps tune`: an Optuna study over shrink timing."""

from __future__ import annotations

import click

from dεps.cli._names import complete_experiment


@click.command()
@click.argument("experiment", required=False, shell_complete=complete_experiment)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes here.")
@click.option("--trials", type=click.IntRange(1), help="Finished trials in all; default: tuning.trials of params.yaml.")
@click.option("--storage", help="Database URL; default: DEPS_STUDY_STORAGE, or an sqlite file below .state/tune.")
def tune(experiment: str | None, workers: int, trials: int | None, storage: str | None) -> None:
    """Search shrink timing and the ε ramp of EXPERIMENT (default: the first) with Optuna.

    Goes on with a study that has been begun; the same command on other machines joins it where they share the storage.
    """
    from dεps.tuning.worker import tune as run_study

    run_study(experiment, workers, trials, storage)
