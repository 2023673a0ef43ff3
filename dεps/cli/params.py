"""`deps params`: params/ composed into params.yaml."""

from __future__ import annotations

import click

from dεps.cli._names import complete_override
from dεps.core.console import say


@click.command()
@click.argument("overrides", nargs=-1, shell_complete=complete_override)
def params(overrides: tuple[str, ...]) -> None:
    """Compose params/ into params.yaml and check it.

    OVERRIDES are Hydra's, such as experiment=[cifar10,cifar100] or experiments.quick.train.epochs=12. With quick all of
    them compute portable bits, unless portable=false is among them.
    """
    from dεps.planning.check import compose_params

    composed = compose_params(overrides)
    shape = " × ".join(f"{key} {', '.join(map(str, composed[key]))}" for key in ("names", "methods", "seeds"))
    say(f"params.yaml: {shape}{', portable' if composed['portable'] else ''}")
