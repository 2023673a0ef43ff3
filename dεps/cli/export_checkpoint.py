"""`deps export-checkpoint`: a supernet file for the public code."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE
from dεps.core.console import say
from dεps.core.errors import UserError


@click.command()
@click.argument("supernet", type=FILE)
@click.argument("out", type=FILE)
def export_checkpoint(supernet: Path, out: Path) -> None:
    """Write a supernet file as a checkpoint that the public OFA and DεpS code loads."""
    from dεps.nets.files import load_supernet
    from dεps.nets.public import export_checkpoint as export_

    if out.resolve() == supernet.resolve():
        raise UserError(f"{out} would replace the supernet; name another file")
    net = load_supernet(supernet)
    export_(net, out)
    say(f"{out}: {net.space.name}, {net.classes:,} classes, {net.channels} input channels")
