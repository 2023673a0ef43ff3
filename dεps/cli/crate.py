"""`deps crate`: a published experiment as one file for an archive."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE, complete_experiment
from dεps.core.console import plural, say


@click.command()
@click.argument("experiment", shell_complete=complete_experiment)
@click.argument("file", type=FILE)
def crate(experiment: str, file: Path) -> None:
    """Write what is published of EXPERIMENT to FILE, a .zip that Zenodo takes: an RO-Crate.

    It holds rows, figures, tables and claims, and metadata: authors and licence of CITATION.cff, params, provenance.
    """
    from dεps.report.publishing.crate import write_crate

    names = write_crate(experiment, file)
    say(f"{file}: {plural(len(names), 'file')}, {file.stat().st_size / 1000:.0f} kB")
