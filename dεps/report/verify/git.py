"""What git has: files of its HEAD, and the state of files that the pipeline writes."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dεps.core.console import plural
from dεps.core.errors import UserError
from dεps.report.tables import EXPERIMENTS, FIGURES
from dεps.report.verify.verification import Verification

LOCK = Path("dvc.lock")


def text_of_head(path: Path) -> str:
    """A file of git's HEAD. Raises `UserError` where there is none."""
    text = _text(path)
    if text is None:
        raise UserError(f"the commit has no {path.as_posix()}, to compare with; commit it, or check out one that has")
    return text


def _text(path: Path) -> str | None:
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{path.as_posix()}"], capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror}); results are compared with those of a commit") from None
    return done.stdout.decode("utf-8") if done.returncode == 0 else None


@contextmanager
def file_of_head(path: Path) -> Iterator[Path]:
    """A file of git's HEAD as one on disk, of the same name."""
    text = text_of_head(path)
    with tempfile.TemporaryDirectory(prefix="deps-verify-") as folder:
        copy = Path(folder) / path.name
        copy.write_text(text, "utf-8")
        yield copy


def git_status(found: Sequence[Verification]) -> str:
    """Sentence that says what `git status` shows of files that the pipeline writes, and why."""
    try:
        command = ["git", "status", "--porcelain", "-z", "--no-renames", "--", LOCK.as_posix(), "reports"]
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return ""
    entries = [entry for entry in done.stdout.decode("utf-8").split("\0") if entry]
    paths = [entry[3:] for entry in entries]
    if done.returncode or not paths:
        return "" if done.returncode else f"git status: {LOCK} and reports/ are as committed"
    others = len([path for path in paths if not path.endswith(LOCK.name)])
    parts = [LOCK.name] * (others < len(paths)) + [f"{plural(others, 'path')} of reports/"] * (others > 0)
    in_lock = [one for one in found if not one.beside]
    if found and not in_lock:
        why = "the commit's are of other experiments, methods or seeds"
    elif any(one.code for one in in_lock):
        why = "the commit's were made with other code"
    elif any(one.other for one in in_lock):
        why = "results differ, as they do on another kind of CPU or with other seeds (docs/reproducibility.md)"
    elif found:
        why = "the results are the same bits, but not the params, or the code of other stages"
    else:
        why = "code, params or the kind of CPU are not those of the commit"
    cure = f"git checkout {LOCK} reports"
    if any(entry.startswith("??") for entry in entries):  # not reports/published, which no command can make again
        cure += f" && git clean -fd {EXPERIMENTS} {FIGURES}"
    return f"git status shows {' and '.join(parts)}: {why}; to take the commit's back: {cure}"
