"""What several commands take: a file's name, that of a preset, which shells complete, a supernet, a model's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

FILE = click.Path(dir_okay=False, path_type=Path)


def supernet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say from which of an experiment's supernets."""
    command = click.option("--seed", type=click.IntRange(0), help="Default: the first in params.yaml.")(command)
    return click.option("--method", help="Default: the first in params.yaml.")(command)


def model_file_options(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say where and in which form a model is written; by default as `name`."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        formats = "onnx, torch (torch.export), safetensors or litert (.tflite)."
        command = click.option("--format", default="onnx", show_default=True, help=formats)(command)
        return click.option("--out", type=FILE, help=f"Default: {name}.")(command)

    return add


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
