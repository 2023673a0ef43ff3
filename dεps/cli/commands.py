"""How `deps --help` groups the commands, what its exit codes mean, and what the shell completes.

Nothing but click is imported here, so that help and completion answer at once.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

#: commands by section, in the order of the help; what is in none comes last
SECTIONS: dict[str, tuple[str, ...]] = {
    "Plan and run": ("params", "plan"),
    "Look": ("show",),
    "Models": ("evaluate", "export", "classify", "latency", "import", "export-checkpoint"),
    "Tuning": ("tune",),
    "MLflow": ("ui", "track"),
    "Shell": ("completion",),
}
EXIT_CODES = (
    ("0", "done"),
    ("1", "MLflow could not be brought up to date (track), or an error of the program"),
    ("2", "an error that you can mend: one line says which file or key, and what is allowed"),
    ("130", "Ctrl-C; the same command goes on where it was, or begins anew what takes seconds"),
    ("143", "terminated, as by a scheduler; likewise"),
)
SHELLS = ("bash", "zsh", "fish")


class SectionedGroup(click.Group):
    """Lists its commands by section."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, then the exit codes."""
        left = self.list_commands(ctx)
        sections = {title: [name for name in names if name in left] for title, names in SECTIONS.items()}
        known = {name for names in sections.values() for name in names}
        sections["Other"] = [name for name in left if name not in known]
        width = max(map(len, left))
        for title, names in sections.items():
            if not names:
                continue
            limit = formatter.width - 6 - width
            rows = [(name.ljust(width), self.get_command(ctx, name).get_short_help_str(limit)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)
        with formatter.section("Exit codes"):
            formatter.write_dl(EXIT_CODES)


def completion_script(command: click.Command, shell: str) -> str:
    """What a shell has to read to complete `deps`."""
    return get_completion_class(shell)(command, {}, "deps", "_DEPS_COMPLETE").source()


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
    return sorted(path.stem for path in Path("params", group).glob("*.yaml"))
