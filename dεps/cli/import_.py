"""`deps import`: a checkpoint of the public code becomes a supernet file."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE, complete_space
from dεps.core.console import say
from dεps.core.errors import UserError


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--space",
    required=True,
    shell_complete=complete_space,
    help="Search space of the checkpoint: a name in params/space.",
)
@click.option("--out", type=FILE, help="Default: FILE with the suffix .safetensors.")
@click.option(
    "--bn-eps", type=float, help="Epsilon of batch normalisation, which no checkpoint holds; default: the space's."
)
def import_(file: Path, space: str, out: Path | None, bn_eps: float | None) -> None:
    """Turn a checkpoint of the public OFA or DεpS code into a supernet file.

    FILE is one written by torch.save (no code in it is run) or .safetensors. Of several state dicts in it, such as
    state_dict and ema, the first of the usual names is taken, which is said. ProxylessNAS of OFA has --bn-eps 1e-3,
    which is the space's, that of DεpS 1e-5.
    """
    from dεps.nets.files import save_supernet
    from dεps.nets.public import default_name, describe, import_checkpoint
    from dεps.workspace.presets import load_space

    out = out or file.with_name(default_name(file))
    if out.suffix != ".safetensors":
        raise UserError(f"--out is {out}; expected a file name that ends in .safetensors")
    if out.resolve() == file.resolve():
        raise UserError(f"{out} would replace the checkpoint; name another file with --out")
    imported = import_checkpoint(file, load_space(space), bn_eps)
    save_supernet(imported.net, out)
    say(f"{out}: {describe(imported)}")
