"""The stages' scripts, each `python -m pipelines.<stage>`."""

import atexit
import gc
import os
import signal
import sys

from deps.__main__ import settle_encodings


def _end(word: bytes, number: int) -> None:
    os.write(2, word + b"\n")
    os._exit(128 + number)


def _check_code() -> None:
    """End with one line where results here are of another version of the package (`deps init`)."""
    from dεps.core.errors import UserError
    from dεps.workspace.project import check_code

    try:
        check_code()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


# A stage begins: imports take seconds, and Ctrl-C in one of them must not be a traceback.
if sys.argv[0] == "-m":
    settle_encodings()
    if os.path.exists("deps.version"):
        _check_code()
    # Nothing to collect in what is being imported: a fifth of its time, and half a second at the process's end.
    gc.disable()  # until `dεps.workspace.stage.run`
    atexit.register(gc.freeze)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: _end(b"interrupted", number))
    signal.signal(signal.SIGTERM, lambda number, frame: _end(b"terminated", number))
