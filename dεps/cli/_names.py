"""What arguments of several commands are: a file's name, or that of a preset, which shells complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

FILE = click.Path(dir_okay=False, path_type=Path)


def _completer(group: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    return lambda ctx, param, incomplete: [name for name in _names(group) if name.startswith(incomplete)]


complete_experiment, complete_space = _completer("experiment"), _completer("space")


def complete_override(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The overrides that select something; bash asks for what comes after `=` alone."""
    choices = {"experiment": _names("experiment"), "methods": _names("method"), "seeds": ["0"]}
    words = [f"{key}=[{name}]" for key, names in choices.items() for name in names]
    words += ["+from=", "experiments."]
    words += [f"[{name}]" for names in choices.values() for name in names if incomplete.startswith("[")]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def _names(group: str) -> list[str]:
    from dεps.workspace.project import groups

    return sorted(path.stem for path in (groups() / group).glob("*.yaml"))
