"""The exceptions meant for users, and their form: one line that a terminal shows unchanged."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: what breaks a line, steers a terminal, turns the direction of writing, or is no character at all
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: longer messages lose their middle: the key stands in front, what is allowed at the end
LONGEST = 800
OUT_OF_MEMORY = "error: out of memory; take smaller batches, or a smaller space"


class UserError(Exception):
    """A mistake that the user can fix: the message is one line naming the key or file and what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class AbsentError(UserError):
    """Data that are not where they should be, and that nothing is to fetch."""


class DivergenceError(UserError):
    """A training whose numbers are no longer finite."""


def one_line(text: str) -> str:
    """Return `text` as one line of at most LONGEST characters, odd ones escaped: it may quote anything."""
    text = _ODD.sub(lambda match: repr(match[0])[1:-1], text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} … {text[-LONGEST // 4 :]}"


def reason(error: BaseException, longest: int = 200) -> str:
    """Return what an error says, on one line, or else its kind; for errors of libraries, which may say anything."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def is_odd(text: str) -> bool:
    """Tell whether `text` holds characters that belong in no name, path or label."""
    return _ODD.search(text) is not None


def exit_line(error: BaseException) -> tuple[str, int] | None:
    """Return the line and exit code with which this error ends a program; None for a bug, which needs a traceback."""
    if isinstance(error, UserError):
        return f"error: {error}", 2
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if is_out_of_memory(error):
        return OUT_OF_MEMORY, 2
    if isinstance(error, OSError) and error.errno is not None:
        return f"error: {error.filename or 'writing failed'}: {error.strerror}", 2
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether Python, torch or a GPU ran out of memory; torch's errors are recognised without importing torch."""
    signs = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # of the CPU, of CUDA, of its libraries
    own = type(error).__name__ == "OutOfMemoryError" or any(sign in str(error) for sign in signs)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and own)


def check_choice(value: object, allowed: Sequence[object], where: str) -> None:
    """Raise `UserError` unless `value` is among `allowed`."""
    if value not in allowed:
        raise UserError(f"{where} is {value!r}; allowed: {', '.join(map(str, allowed))}")
