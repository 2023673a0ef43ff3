"""The stages' scripts, each `python -m pipelines.<stage>`."""

import os
import sys

from deps.__main__ import settle_encodings


def _check_code() -> None:
    """End with one line where results here are of another version of the package (`deps init`)."""
    from dεps.core.errors import UserError
    from dεps.workspace.project import check_code

    try:
        check_code()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if sys.argv[0] == "-m":  # so it is while Python looks for the stage that it was told to run: a program begins
    settle_encodings()
    from dεps.core.process import begin

    begin()
    if os.path.exists("deps.version"):
        _check_code()
