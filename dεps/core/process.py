"""Everything that a program of this project decides about its process, from its first line to its exit code.

Importing a module of dεps changes nothing in the process. A program (the command, a stage, a worker) calls `begin()`
before the imports that take seconds, and does its work inside `guarded()`.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import TypeVar

from dεps.core.console import complain
from dεps.core.errors import exit_line

T = TypeVar("T")
#: variables that are set unless the user has set them
ENVIRONMENT = {
    # One thread a process: the order of a sum, so its last bits, does not depend on the number of cores, and several
    # stages side by side use the cores better (`deps repro`).
    "OMP_NUM_THREADS": "1",
    # A tracking server that does not answer may cost seconds, not minutes. The one retry is for an open connection
    # that the server has closed; it comes at once, even if the server asks for patience.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "PGCONNECT_TIMEOUT": "4",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
#: variables that are always set: MLflow would print the store's password
SILENT = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
#: variables by which a user or a cluster chooses kernels of the processor, on which the last bits of results depend
KERNELS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)
#: one set of instructions for all x86-64 processors, which servers have had since 2013; of MKL's modes COMPATIBLE alone
#: is meant for other makers' processors too
PORTABLE = {
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}
#: where it says so; libraries read the variables as they are loaded, so this is before params can be checked
PARAMS, PORTABLE_KEY = "params.yaml", re.compile(r"^portable:[ \t]*true[ \t]*(#.*)?$", re.MULTILINE | re.IGNORECASE)
#: warnings that a user can do nothing about: message, category and module
QUIET = (
    ("", UserWarning, r"mlflow(\.|$)"),
    ("", UserWarning, r"PIL\."),  # damaged EXIF data does not affect the pixels
    ("", RuntimeWarning, r"PIL\."),  # images that are too large are refused with an error
    (".*experimental", Warning, r"(optuna|dεps\.tuning)\."),  # its version has an upper bound
)


def begin() -> None:
    """Set the environment and filters of warnings; make imports fast, and Ctrl-C during them one line."""
    settle()
    # Imports leave no garbage. Collecting takes a fifth of their time, and half a second when the process ends.
    gc.disable()  # until `guarded`
    atexit.register(gc.freeze)
    if _is_interruptible():
        signal.signal(signal.SIGINT, lambda number, frame: _end(b"interrupted", number))
    signal.signal(signal.SIGTERM, lambda number, frame: _end(b"terminated", number))


def settle(portable: bool | None = None) -> None:
    """Set environment variables and filters of warnings, as programs and tests need them.

    Args:
        portable: whether to compute the bits that all x86-64 processors have in common; None: as params.yaml in the
            current folder says
    """
    os.environ.update({**ENVIRONMENT, **os.environ, **SILENT})
    if (_wants_portable() if portable is None else portable) and not is_portable():
        if "torch" in sys.modules:
            raise SystemExit(f"error: {PARAMS} says portable: true only since this process began; run it again")
        os.environ.update(PORTABLE)
    for message, kind, module in QUIET:
        warnings.filterwarnings("ignore", message, kind, module)


def _wants_portable() -> bool:
    """Tell whether params.yaml in the current folder says `portable: true`."""
    try:
        with open(PARAMS, encoding="utf-8", errors="replace") as file:
            return PORTABLE_KEY.search(file.read()) is not None
    except OSError:
        return False


def is_portable() -> bool:
    """Tell whether this process was set up to compute the bits that all x86-64 processors have in common."""
    return all(os.environ.get(name) == text for name, text in PORTABLE.items())


def threads() -> int:
    """Return the number of threads that each process of this environment computes with."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) else 1


def kernels() -> dict[str, str]:
    """Return those of the variables that choose kernels which are set, but for what this project sets itself."""
    own = {"MKL_CBWR": "AUTO"}  # by `dεps.core.device.set_up`
    found = {name: os.environ[name] for name in KERNELS if name in os.environ}
    return {name: text for name, text in found.items() if own.get(name) != text}


def guarded(work: Callable[[], T], explain: Callable[[BaseException], tuple[str, int] | None] = exit_line) -> T:
    """Return what `work` returns; an error that `explain` knows ends the process with one line and an exit code.

    SIGTERM, which a cluster's scheduler sends, ends it with code 143 after cleaning up, just as Ctrl-C does with 130.
    """
    if not gc.isenabled():
        gc.enable()
        gc.freeze()  # modules stay, so the collector need not visit them
    own, ignored, said = os.getpid(), sys.unraisablehook, []

    def terminate(number: int, frame: object) -> None:
        if os.getpid() != own:  # a forked process leaves the message to its parent
            os._exit(128 + number)
        if not said:
            said.append("terminated")
            complain("terminated")
        raise _Terminated(128 + number)

    def repeat(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, (_Terminated, KeyboardInterrupt)):
            return ignored(lost)
        # The signal came within a finalizer, whose exceptions Python drops: without this the work would go on.
        number = signal.SIGTERM if isinstance(lost.exc_value, _Terminated) else signal.SIGINT
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = repeat
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
        sys.unraisablehook = ignored
        for number, handler in before.items():
            signal.signal(number, handler)


class _Terminated(SystemExit):
    """SIGTERM's way out."""


def _is_interruptible() -> bool:
    """Tell whether Ctrl-C is meant for this process; a shell makes background processes ignore it."""
    return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _end(word: bytes, number: int) -> None:
    os.write(2, word + b"\n")
    os._exit(128 + number)
