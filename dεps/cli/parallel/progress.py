"""What people see of items that run: a table on a terminal, elsewhere a line a minute, with the time that is left."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from dεps.core.console import clock, complain
from dεps.workspace.locks import STATE

if TYPE_CHECKING:
    from rich.console import Group

#: seconds between two lines where there is no terminal
LINE_EVERY = 60.0
#: bytes at the end of an item's log that are searched for how far it is
TAIL = 4096
#: how many times as long as an item of another stage one is taken to last, as long as no duration of its stage is known
LONG = {"full_model": 5, "standalone": 5, "train": 5, "finetune": 5, "tune": 50}
#: as `ProgressBar` prints where there is no terminal
_STEPS = re.compile(r"(\d+)/(\d+), (?:(\d+):)?(\d+):(\d\d) left$", re.MULTILINE)


class Durations:
    """Seconds that items take, by the notes that stages leave, and by what this run has seen."""

    def __init__(self, names: Iterable[str]) -> None:
        self.known: dict[str, float] = {}
        #: of items that run for the first time, by what they say of their progress
        self.expected: dict[str, float] = {}
        for name in names:
            with suppress(OSError, ValueError, KeyError, TypeError):
                self.known[name] = float(json.loads(timing_path(name).read_text("utf-8"))["seconds"])

    def of(self, name: str) -> float | None:
        """Return the item's last duration, else the mean of those most like it; None where there are none.

        Alike are items that differ in the seed only, else those of the same stage and experiment.
        """
        seen = self.expected | self.known
        if name in seen:
            return seen[name]
        for alike in (name.rpartition("-")[0] + "-", name.partition("-")[0] + "-"):
            if found := [seconds for other, seconds in seen.items() if f"{other}-".startswith(alike)]:
                return fmean(found)
        return None

    def longest_way(self, upstream: dict[str, tuple[str, ...]]) -> dict[str, float]:
        """Return the seconds from each item's start to the end of the longest chain of items that stand on it."""
        mean = fmean(self.known.values()) if self.known else 1.0
        way = {name: self.of(name) or mean * LONG.get(name.partition("@")[0], 1) for name in upstream}
        behind = dict.fromkeys(upstream, 0.0)
        for name in reversed(upstream):  # an item comes after those that it stands on
            way[name] += behind[name]
            for need in upstream[name]:
                behind[need] = max(behind[need], way[name])
        return way


def timing_path(name: str) -> Path:
    """Return the path of the note that a stage leaves of its last duration."""
    stage, _, rest = name.partition("@")
    experiment, _, instance = rest.partition("-")
    return STATE / "timing" / experiment / stage / f"{instance or 'all'}.json"


def steps(log: Path) -> tuple[str, float] | None:
    """Return how far an item is by its log, such as ("3/20", 84.0): steps done of all, and seconds left."""
    with suppress(OSError):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            found = _STEPS.findall(file.read().decode("utf-8", "replace"))
        if found:
            done, total, hours, minutes, seconds = found[-1]
            return f"{done}/{total}", 3600.0 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return None


def last_line(log: Path) -> str:
    """Return the line of an item's log that says best why it failed: the last error of a stage, else the last one."""
    try:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return "no log"
    by_stage = [line for line in lines if line.startswith("error: ")]
    others = [line for line in lines if not line.startswith(("Use `dvc", "Updating lock"))]
    return deque(by_stage or others or ["nothing was printed"], 1)[0]


def minutes(seconds: float) -> str:
    """Return a time that is left in whole minutes, such as "12 min", or "2 h 05 min"; estimates are no better."""
    if seconds < 45:
        return "under a minute"
    hours, rest = divmod(max(1, round(seconds / 60)), 60)
    return f"{hours} h {rest:02} min" if hours else f"{rest} min"


class Board:
    """Shows what runs. Use as a context; `show` is cheap enough to be called several times a second."""

    def __init__(self, upstream: Mapping[str, Collection[str]], durations: Durations, logs: Mapping[str, Path]) -> None:
        self.upstream, self.durations, self.logs = upstream, durations, logs
        self.printed = self.shown = time.monotonic()
        self.live = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)

    def __enter__(self) -> Board:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a line on stderr, above the table."""
        if self.live:
            self.live.console.print(text, highlight=False, markup=False)
        else:
            complain(text)

    def show(self, running: Mapping[str, float], left: Collection[str], failed: int, jobs: int) -> None:
        """Bring the table up to date, or print a line if it is time.

        Args:
            running: when each item that runs was started, by `time.monotonic`.
            left: items that neither run nor have ended.
            failed: number of items that have failed.
            jobs: items at once.
        """
        now = time.monotonic()
        if now - (self.shown if self.live else self.printed) < (0.5 if self.live else LINE_EVERY):
            return
        self.shown = self.printed = now
        self.durations.expected = {}
        rows = [self._row(name, now - started) for name, started in running.items()]
        done = len(self.upstream) - len(left) - len(running) - failed
        head = f"{done} of {len(self.upstream)} items done" + (f", {failed} failed" if failed else "")
        head += self._left({name: row[2] for name, row in zip(running, rows, strict=True)}, left, jobs)
        if self.live:
            self.live.update(_table(head, rows), refresh=True)
        else:
            texts = [f"{name} {clock(for_)}" + (f" ({at})" if at else "") for name, for_, _, at in rows]
            complain(f"{head}; running: {', '.join(texts)}")

    def _row(self, name: str, seconds: float) -> tuple[str, float, float | None, str]:
        """Return name, seconds so far, seconds left, and how far it is."""
        at, usual = steps(self.logs[name]), self.durations.of(name)
        if at and name.startswith("tune"):  # it tells of one training, of which a study has several
            return name, seconds, max(at[1], usual - seconds) if usual is not None else None, at[0]
        if at:
            self.durations.expected[name] = seconds + at[1]
            return name, seconds, at[1], at[0]
        return name, seconds, max(0.0, usual - seconds) if usual is not None else None, ""

    def _left(self, running: Mapping[str, float | None], left: Collection[str], jobs: int) -> str:
        """Tell the time until all is done; a lower bound where of an item none is known that is like it."""
        expected = {**running, **{name: self.durations.of(name) for name in left}}
        known = {name: seconds for name, seconds in expected.items() if seconds is not None}
        ends: dict[str, float] = {}
        for name in self.upstream:
            before = max((ends.get(need, 0.0) for need in self.upstream[name]), default=0.0)
            ends[name] = known.get(name, 0.0) + before
        seconds = max(sum(known.values()) / jobs, *ends.values(), 0.0)
        if len(known) == len(expected):
            return f", about {minutes(seconds)} left".replace("about under", "under")
        return f", at least {minutes(seconds)} left" if seconds >= 45 else ""


def _table(head: str, rows: Iterable[tuple[str, float, float | None, str]]) -> Group:
    from rich.console import Group
    from rich.table import Table

    table = Table()
    for heading, options in (("item", {}), ("for", {"justify": "right"}), ("at", {}), ("left", {"justify": "right"})):
        table.add_column(heading, **options)  # type: ignore[arg-type]
    for name, seconds, left, at in rows:
        table.add_row(name, clock(seconds), at, "" if left is None else clock(left))
    return Group(head, table)
