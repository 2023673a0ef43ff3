"""The command `deps`. Commands import what they need when they are called, so that `deps --help` is quick."""

from __future__ import annotations

import sys

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
