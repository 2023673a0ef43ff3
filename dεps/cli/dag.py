"""`deps dag`: the pipeline's stages, in text that fits a terminal."""

from __future__ import annotations

import click


@click.command()
def dag() -> None:
    """Print the stages: how many items each has by params.yaml, after which others it runs, and what it makes.

    'dvc dag' draws every single item instead.
    """
    from dεps.core.console import plural, show_table
    from dεps.core.params import read_params
    from dεps.planning.dag import read_stages

    stages = read_stages(read_params())
    rows = [
        (
            stage.name,
            f"{stage.count}",
            " × ".join(plural(number, what) for what, number in stage.items.items()),
            ", ".join(stage.after),
            stage.about,
        )
        for stage in stages
    ]
    total = plural(sum(stage.count for stage in stages), "item")
    columns = {"stage": {}, "items": {"justify": "right"}, "one for each": {}, "after": {}, "what it makes": {}}
    show_table(rows, columns, note=f"{total}; 'dvc status' says what would run, and 'deps repro NAME' runs a stage")
