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


# A stage begins: imports take seconds, and Ctrl-C in one of them must not be a traceback.
if sys.argv[0] == "-m":
    settle_encodings()
    # Nothing to collect in what is being imported: a fifth of its time, and half a second at the process's end.
    gc.disable()  # until `dεps.workspace.stage.run`
    atexit.register(gc.freeze)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: _end(b"interrupted", number))
    signal.signal(signal.SIGTERM, lambda number, frame: _end(b"terminated", number))
