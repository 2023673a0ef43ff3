"""`deps completion`: what a shell reads to complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dεps.core.console import say

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL needs to complete commands, options and names.

    For bash: eval "$(deps completion bash)", for zsh the same; for fish: deps completion fish | source.
    """
    if kind := get_completion_class(shell):
        say(kind(ctx.find_root().command, {}, "deps", "_DEPS_COMPLETE").source())
