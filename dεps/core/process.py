"""What a program of this project decides about its process, from its first line to its exit code.

Importing a module of dεps decides nothing. A program (the command, a stage, a worker) calls `begin()` before the
imports that take seconds, and does its work in `guarded()`.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from dεps.core.console import complain
from dεps.core.errors import exit_line

T = TypeVar("T")
#: variables that are set unless the user has set them
ENVIRONMENT = {
    # A tracking server that does not answer must cost seconds, not minutes. The one retry is for a kept connection
    # that the server has closed; it comes at once, and never later because a server asks for patience.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "PGCONNECT_TIMEOUT": "4",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
#: and one that is always set: MLflow would print the store's password
SILENT = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
#: warnings that say nothing to a user, by message, kind and module
QUIET = (
    ("", UserWarning, r"mlflow(\.|$)"),
    ("", UserWarning, r"PIL\."),  # of damaged EXIF data, which say nothing about pixels
    ("", RuntimeWarning, r"PIL\."),  # of images so large that they are refused with an error
    (".*experimental", Warning, r"(optuna|dεps\.tuning)\."),  # whose version has an upper bound
)


def begin() -> None:
    """Begin a program: environment, warnings, no garbage collection during imports, and one line on Ctrl-C in them."""
    settle()
    # Imports make nothing to collect: it would take a fifth of their time, and half a second at the process's end.
    gc.disable()  # until `guarded`
    atexit.register(gc.freeze)
    if _is_interruptible():
        signal.signal(signal.SIGINT, lambda number, frame: _end(b"interrupted", number))
    signal.signal(signal.SIGTERM, lambda number, frame: _end(b"terminated", number))


def settle() -> None:
    """Set environment variables and filters of warnings, for programs and for tests."""
    os.environ.update({**ENVIRONMENT, **os.environ, **SILENT})
    for message, kind, module in QUIET:
        warnings.filterwarnings("ignore", message, kind, module)


def guarded(work: Callable[[], T], explain: Callable[[BaseException], tuple[str, int] | None] = exit_line) -> T:
    """Do `work` and return what it returns; an error that `explain` knows ends the process with one line and a code.

    A request to terminate, as from a cluster's scheduler, ends it with 143, after cleaning up as on Ctrl-C.
    """
    if not gc.isenabled():
        gc.enable()
        gc.freeze()  # modules stay: the collector need not look at them again
    own = os.getpid()

    def terminate(number: int, frame: object) -> None:
        if os.getpid() != own:  # a process that decodes images: it is not the one that reports
            os._exit(128 + number)
        complain("terminated")
        sys.exit(128 + number)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if _is_interruptible():
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return work()
    except BaseException as error:
        explained = explain(error)
        if explained is None:
            raise
        line, code = explained
        if line:
            complain(line)
        sys.exit(code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_interruptible() -> bool:
    """Whether Ctrl-C is meant for this process: a shell that runs it in the background has it ignored."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _end(word: bytes, number: int) -> None:
    os.write(2, word + b"\n")
    os._exit(128 + number)
