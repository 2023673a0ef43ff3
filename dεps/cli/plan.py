"""`deps plan`: what everything would train and cost."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE, complete_override
from dεps.core.console import say
from dεps.core.errors import UserError


@click.command()
@click.argument("overrides", nargs=-1, shell_complete=complete_override)
@click.option(
    "--steps", default=3, show_default=True, type=click.IntRange(0, 1000), help="Steps to measure a phase; 0: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--figure", type=FILE, help="Draw the timelines into this .svg, .png or .pdf.")
def plan(overrides: tuple[str, ...], steps: int, as_json: bool, figure: Path | None) -> None:
    """Say what every method would train and what it would cost, before anything runs.

    OVERRIDES as for `deps params`, which are composed but not written; without any, params.yaml as it is, or the
    defaults where there is none. Wall time is predicted from a few steps on made-up images.
    """
    from dεps.core.params import PARAMS, read_params
    from dεps.planning.check import check_params, composed
    from dεps.planning.plan import plan_experiments
    from dεps.planning.show import FIGURE_FILES, print_plan, save_figure, to_json

    if figure and figure.suffix not in FIGURE_FILES:
        raise UserError(f"--figure is {figure}; expected a file name that ends in {', '.join(FIGURE_FILES)}")
    if overrides or not PARAMS.exists():
        params, _ = composed(overrides)
    else:
        params = read_params()
        check_params(params)
    plans = plan_experiments(params, steps)
    say(to_json(plans)) if as_json else print_plan(plans)
    if figure:
        save_figure(plans, figure)
