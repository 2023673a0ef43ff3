"""`deps repro`: the pipeline, several items at once."""

from __future__ import annotations

import click


@click.command()
@click.argument("targets", nargs=-1)
@click.option("-j", "--jobs", type=click.IntRange(1, 10_000), help="Items at once; default: one a GPU, or one a core.")
@click.option("--launcher", default="local", show_default=True, help="A file of params/launcher/: local or slurm.")
@click.option("--allow-missing", is_flag=True, help="Run nothing only because its files are not here, as 'dvc repro'.")
def repro(targets: tuple[str, ...], jobs: int | None, launcher: str, allow_missing: bool) -> None:
    """Do what 'dvc repro' does, with items that do not need each other side by side.

    TARGETS are stages or items, such as train or train@quick-deps-0; default: all.
    """
    from dεps.cli.parallel.run import reproduce

    reproduce(targets, jobs, launcher, allow_missing)
