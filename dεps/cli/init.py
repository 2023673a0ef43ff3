"""`deps init`: the files of a project, outside the package's own repository."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.core.console import say


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--upgrade", "upgrading", is_flag=True, help="Of a project: go on with the installed version of dεps.")
def init(folder: Path, upgrading: bool) -> None:
    """Write a project's files into FOLDER (default: here): dvc.yaml, params/, pipelines/ and what DVC needs.

    Nothing that is there is replaced. Then: git init && dvc repro.
    """
    from dεps.workspace.presets import unchecked
    from dεps.workspace.project import VERSION, create, template, upgrade

    _, params = unchecked([], template() / "params")
    if not upgrading:
        files = create(folder, params)
        say(f"{folder}: {len(files)} files; go on with: git init && dvc repro")
        return
    missing, differ = upgrade(folder, params)
    say(f"{folder / VERSION}: the installed version; 'dvc repro' makes all results anew")
    if missing:
        say(f"written, since missing: {', '.join(missing)}")
    if differ:
        say(f"not as this version has them: {', '.join(differ)}; to take its own, move them away and call this again")
