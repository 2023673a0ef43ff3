"""The stages' scripts, each `python -m pipelines.<stage>`."""

import os
import signal
import sys

# A stage begins: imports take seconds, and Ctrl-C in one of them must not be a traceback.
if sys.argv[0] == "-m" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda number, frame: (os.write(2, b"interrupted\n"), os._exit(128 + number)))
