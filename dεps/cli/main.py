"""The command `deps`: a command `x-y` is the function `x_y` in the file `x_y.py` of this folder.

A file imports what it needs when its command runs, so that `deps --help` answers at once.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from dεps.core.errors import exit_line
from dεps.core.process import guarded

#: commands by section, in the order of the help; what is in none comes last
SECTIONS: dict[str, tuple[str, ...]] = {
    "Plan and run": ("init", "params", "plan", "dag", "repro"),
    "Results": ("show", "verify", "exp", "publish", "table", "crate"),
    "Models": ("evaluate", "export", "finetune", "classify", "latency", "import", "export-checkpoint"),
    "Tuning": ("tune",),
    "MLflow": ("ui", "track"),
    "Shell": ("completion",),
}
EXIT_CODES = (
    ("0", "done"),
    ("1", "numbers are off (verify), MLflow could not be brought up to date (track), or an error of the program"),
    ("2", "an error that you can mend: one line says which file or key, and what is allowed"),
    ("130", "Ctrl-C; the same command goes on where it was, or begins anew what takes seconds"),
    ("143", "terminated, as by a scheduler; likewise"),
)


@cache
def command_files() -> dict[str, str]:
    """Return the file of each command, without its suffix, by the command's name."""
    stems = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "main")
    return {stem.rstrip("_").replace("_", "-"): stem for stem in stems}


class _Group(click.Group):
    """Finds commands by their files, lists them by section, and turns errors that can be fixed into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return those in `SECTIONS` in its order, then the others."""
        known = [name for names in SECTIONS.values() for name in names]
        return sorted(command_files(), key=lambda name: known.index(name) if name in known else len(known))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (stem := command_files().get(cmd_name)) is None:
            return None
        command = getattr(import_module(f"dεps.cli.{stem}"), stem)
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the command that is meant where one is misspelled, as click does of options."""
        if args[0] not in command_files() and (near := get_close_matches(args[0], command_files(), 1)):
            raise click.UsageError(f"No such command {args[0]!r} (did you mean {near[0]!r}?)", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, then the exit codes."""
        commands = {name: found for name in self.list_commands(ctx) if (found := self.get_command(ctx, name))}
        width = max(map(len, commands))
        limit = formatter.width - 6 - width
        rows = {name: (name.ljust(width), command.get_short_help_str(limit)) for name, command in commands.items()}
        sections = {title: [rows.pop(name) for name in names] for title, names in SECTIONS.items()}
        for title, listed in {**sections, "Other": list(rows.values()), "Exit codes": EXIT_CODES}.items():
            if listed:
                with formatter.section(title):
                    formatter.write_dl(listed)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        code = guarded(lambda: super(_Group, self).main(*args, **kwargs | {"standalone_mode": False}), _exit_line)
        sys.exit(code or 0)


def _exit_line(error: BaseException) -> tuple[str, int] | None:
    """Return what `exit_line` returns, for click's errors too."""
    if isinstance(error, click.Abort):  # in the place of KeyboardInterrupt
        return "interrupted; the same command goes on from what is saved", 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return "", error.exit_code
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"; see '{context.command_path} --help'" if context else ""
        return f"error: {error.format_message().rstrip('.')}{hint}", error.exit_code
    return exit_line(error)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deps-workbench")
def main() -> None:
    """Train and compare once-for-all supernets."""
