"""Names of presets, for shells to complete."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_experiment(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Presets in `params/experiment`."""
    return [name for name in _names("experiment") if name.startswith(incomplete)]


def complete_space(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Search spaces in `params/space`."""
    return [name for name in _names("space") if name.startswith(incomplete)]


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
