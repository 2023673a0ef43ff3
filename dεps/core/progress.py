"""Progress with an estimate of the time left: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
#: seconds between two lines where there is no terminal
LINE_EVERY = 20.0


def progress(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Pass `items` through while showing how many of `total` are done."""
    with ProgressBar(label, total) as bar:
        for item in items:
            yield item
            bar.advance()


class ProgressBar:
    """A bar that is moved by hand."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done, self.first = label, total, done, done
        self.started = self.printed = time.monotonic()
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self.bar = Progress(*columns, *times, console=Console(stderr=True))
            self.task = self.bar.add_task(label, total=total, completed=done)

    def __enter__(self) -> ProgressBar:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar:
            self.bar.stop()

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""
        self.done += steps
        now = time.monotonic()
        if self.bar:
            self.bar.advance(self.task, steps)
        elif now - self.printed > LINE_EVERY:
            self.printed = now
            left = (now - self.started) / (self.done - self.first) * (self.total - self.done)
            self.note(f"{self.label}: {self.done}/{self.total}, {left:.0f} s left")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self.bar:
            self.bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
