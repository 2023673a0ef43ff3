"""A running training as a file that others can follow.

Training itself never talks to MLflow: it appends records to `.state/live/…jsonl` and, when it has gone on for two
minutes, starts a separate process (`dεps.tracking.follow`) that passes them on. A dead or slow tracking server can
therefore neither stop nor slow it. The file also keeps the wall-clock of each record, for `deps track`, which does all
of it for shorter trainings: on a few cores, MLflow's start takes seconds from whatever computes beside it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer
from typing import IO, Any

from dεps.core.console import warn
from dεps.core.errors import UserError
from dεps.workspace.address import patience, tracking_uri
from dεps.workspace.identity import RunIdentity, git_commit

#: what a follower that has warned writes to its standard output
WARNED = b"warned"
#: seconds before a training is followed, and what sets others
FOLLOW_AFTER, FOLLOW_AFTER_VARIABLE = 120.0, "DEPS_FOLLOW_AFTER"


def follow_after() -> float:
    """Seconds before a training is followed: `DEPS_FOLLOW_AFTER`, or two minutes. Raises `UserError`."""
    text = os.environ.get(FOLLOW_AFTER_VARIABLE) or str(FOLLOW_AFTER)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 86_400:
        raise UserError(f"{FOLLOW_AFTER_VARIABLE} is {text!r}; expected seconds, 0 to 86400")
    return seconds


def read_live(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """Header, entries `{"time": ms, "record": …}`, and whether the end is marked; empty where there is no file."""
    try:
        lines = [parsed for line in path.read_text("utf-8", "replace").splitlines() if (parsed := _parse(line))]
    except OSError:
        return {}, [], False
    header = lines[0] if lines and "digest" in lines[0] else {}
    entries = [line for line in lines if isinstance(line.get("record"), dict) and isinstance(line.get("time"), int)]
    return header, entries, any("end" in line for line in lines)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        return None  # its writer is at it
    return parsed if isinstance(parsed, dict) else None


class LiveRun:
    """Writes the file of one training and looks after its follower.

    Args:
        path: the file.
        identity: whose records they are.
        follow: start a process that logs them to MLflow while they come.

    Raises:
        UserError: where `DEPS_FOLLOW_AFTER` is no number of seconds.
    """

    def __init__(self, path: Path, identity: RunIdentity, follow: bool = True) -> None:
        self.path, self.identity, self.follow = path, identity, follow
        self.file: IO[str] | None = None
        self.process: subprocess.Popen | None = None
        self.timer = Timer(follow_after(), self._follow)
        self.timer.daemon = True

    def start(self, history: list[dict[str, Any]]) -> None:
        """Begin, with the records that a resumed or branched run already has; known ones keep their time."""
        header, entries, _ = read_live(self.path)
        same = header.get("digest") == self.identity.digest
        times = {json.dumps(entry["record"]): entry["time"] for entry in entries} if same else {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("w", encoding="utf-8")
        self._write({**self.identity.to_json(), "git_commit": git_commit()})
        for record in history:
            self._write({"time": times.get(json.dumps(record), _now()), "record": record})
        if self.follow and self.timer.interval:
            self.timer.start()
        elif self.follow:
            self._follow()

    def log(self, record: dict[str, Any]) -> None:
        """Append one record."""
        self._write({"time": _now(), "record": record})

    def finish(self) -> None:
        """Mark the end and give the follower a moment to pass on what is left."""
        self._write({"end": "FINISHED"})
        self.file.close()
        self.timer.cancel()
        if self.timer.ident:
            self.timer.join()  # it may be starting the process
        if self.process:
            self._await_follower()

    def _follow(self) -> None:
        command = [sys.executable, "-m", "dεps.tracking.follow", str(self.path), str(os.getpid())]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )

    def _await_follower(self) -> None:
        """Wait as long as the store may keep anyone waiting; say so where it is not complete, unless it was said."""
        try:
            said, _ = self.process.communicate(timeout=patience(tracking_uri()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
        if self.process.returncode and WARNED not in said:
            warn("MLflow did not answer in time; 'deps track' completes its store")

    def _write(self, line: dict[str, Any]) -> None:
        self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.file.flush()


def _now() -> int:
    return int(time.time() * 1000)
