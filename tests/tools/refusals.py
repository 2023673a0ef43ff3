"""What an error has to look like: one line that names the key or the file."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dεps.core.errors import UserError

LONGEST = 1000


def assert_one_line(text: str, *names: str) -> None:
    """`text` is one short printable line that holds one of `names`, where there are any."""
    assert text.strip(), "the error says nothing"
    assert len(text) <= LONGEST, f"{len(text)} characters: {text[:200]}"
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text), f"no plain line: {text!r}"
    assert "Traceback" not in text
    assert not names or any(name in text for name in names), f"none of {names} in: {text}"


def refusal(call: Callable[[], object], *names: str) -> str:
    """The message of the `UserError` that `call` raises, which names one of `names`."""
    with pytest.raises(UserError) as caught:
        call()
    assert_one_line(str(caught.value), *names)
    return str(caught.value)


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *names: str) -> None:
    """A process ended with `code` and said one line about it."""
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert_one_line(lines[0], *names)


def files(folder: Path, without: Iterable[str] = ()) -> dict[str, bytes]:
    """Content of every file below `folder`, but for those whose first part is in `without`."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.as_posix(): path.read_bytes() for name, path in found.items() if name.parts[0] not in without}
