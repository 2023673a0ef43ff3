"""The command `deps`. Commands import what they need when they are called, so that `deps --help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dεps.errors import UserError


class _Group(click.Group):
    """Turns errors that the user can mend into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deps-workbench")
def main() -> None:
    """Train and compare once-for-all supernets."""


@main.command()
@click.argument("overrides", nargs=-1)
def params(overrides: tuple[str, ...]) -> None:
    """Compose params/ into params.yaml and check it.

    OVERRIDES are Hydra's, such as experiment=[quick,cifar10] or experiments.quick.train.epochs=12.
    """
    from dεps.compose import compose_params

    composed = compose_params(overrides)
    shape = " × ".join(f"{key} {', '.join(map(str, composed[key]))}" for key in ("names", "methods", "seeds"))
    click.echo(f"params.yaml: {shape}")


@main.command()
@click.argument("overrides", nargs=-1)
@click.option(
    "--steps", default=3, show_default=True, type=click.IntRange(0), help="Steps to measure a phase; 0: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--figure", type=click.Path(dir_okay=False, path_type=Path), help="Draw the timelines into this .svg, .png or .pdf."
)
def plan(overrides: tuple[str, ...], steps: int, as_json: bool, figure: Path | None) -> None:
    """Say what every method would train and what it would cost, before anything runs.

    OVERRIDES as for `deps params`, which are composed but not written; without any, params.yaml as it is. Wall time is
    predicted from a few steps on made-up images.
    """
    from dεps.compose import check_params, composed
    from dεps.config import read_params
    from dεps.planning import FIGURE_FILES, plan_experiments, print_plan, save_figure, to_json

    if figure and figure.suffix not in FIGURE_FILES:
        raise UserError(f"--figure is {figure}; expected a file name that ends in {', '.join(FIGURE_FILES)}")
    if overrides:
        params, _ = composed(overrides)
    else:
        params = read_params()
        check_params(params)
    plans = plan_experiments(params, steps)
    if as_json:
        click.echo(to_json(plans))
    else:
        print_plan(plans)
    if figure:
        save_figure(plans, figure)


@main.command()
@click.argument("experiment", required=False)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes here.")
@click.option("--trials", type=click.IntRange(1), help="Finished trials in all; default: tuning.trials of params.yaml.")
@click.option("--storage", help="Database URL; default: DEPS_STUDY_STORAGE, or an sqlite file below .state/tune.")
def tune(experiment: str | None, workers: int, trials: int | None, storage: str | None) -> None:
    """Search shrink timing and the ε ramp of EXPERIMENT (default: the first) with Optuna.

    Goes on with a study that has been begun; the same command on other machines joins it where they share the storage.
    """
    from dεps.tuning.worker import tune as run_study

    run_study(experiment, workers, trials, storage)


@main.command()
def show() -> None:
    """Print the results tables and where the report is."""
    from dεps.reporting.tables import print_results

    print_results()


@main.command()
@click.option("--uri", help="MLflow store; default: MLFLOW_TRACKING_URI, or mlflow.db here.")
def track(uri: str | None) -> None:
    """Bring MLflow up to date from the result files; as often as you like."""
    from dεps.config import read_params
    from dεps.tracking.sync import track as bring_up_to_date

    if not bring_up_to_date(read_params(), uri):
        sys.exit(1)


if __name__ == "__main__":
    main()
