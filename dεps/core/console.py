"""Prints everything that people see: lines and tables on stdout, warnings and progress on stderr.

rich is imported only where it is used, because importing it takes longer than most commands run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from dεps.core.errors import one_line

T = TypeVar("T")
#: seconds between two lines of progress where there is no terminal: in the first minute, and later
LINE_EVERY = (20.0, 60.0)
#: columns of a table where there is no terminal
WIDTH = 120


def say(text: str) -> None:
    """Print a line on stdout and flush it, since someone may be reading a log file."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print one line on stderr that begins with "warning: "."""
    complain(f"warning: {text}")


def complain(text: str) -> None:
    """Print one line on stderr, with odd characters escaped."""
    print(one_line(text), file=sys.stderr, flush=True)


def plural(number: int, what: str) -> str:
    """The number with its noun, such as "1 seed" and "2 seeds"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 3:07, or hours too."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show_table(
    rows: Iterable[Sequence[str]],
    columns: Mapping[str, Mapping[str, Any]],
    title: str | None = None,
    note: str | None = None,
) -> None:
    """Print a table on stdout; `columns` holds options for rich's `add_column` by the column's heading."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading, options in columns.items():
        table.add_column(heading, **options)
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if Console().is_terminal else WIDTH)
    console.print(table)
    if note:
        console.print(note, highlight=False)


def progress(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield each of `items` while showing how many of `total` are done."""
    with ProgressBar(label, total) as bar:
        for item in items:
            yield item
            bar.advance()


class ProgressBar:
    """A progress bar on a terminal, an occasional line elsewhere; both estimate the time left."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done, self.first = label, total, done, done
        self.started = self.printed = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            from rich import progress as parts
            from rich.console import Console

            columns = ("{task.description}", parts.BarColumn(), parts.MofNCompleteColumn(), parts.TimeElapsedColumn())
            left = ("left", parts.TimeRemainingColumn())
            self.bar = parts.Progress(*columns, *left, console=Console(stderr=True))
            self.task = self.bar.add_task(label, total=total, completed=done)

    def __enter__(self) -> ProgressBar:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.stop()

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more as done."""
        self.done += steps
        now = time.monotonic()
        if self.bar:
            self.bar.advance(self.task, steps)
        elif now - self.printed > LINE_EVERY[now - self.started > 60]:
            self.printed = now
            left = (now - self.started) / (self.done - self.first) * (self.total - self.done)
            self.note(f"{self.label}: {self.done}/{self.total}, {clock(left)} left")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self.bar:
            self.bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
