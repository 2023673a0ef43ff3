"""The command `deps`, also `python -m deps`: in a module whose name is ASCII, which Python finds in every locale."""

from __future__ import annotations

import sys
from io import TextIOWrapper


def settle_encodings() -> None:
    """Let nothing that is printed fail; end with one line where Python cannot find modules whose names have an ε."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if (encoding := sys.getfilesystemencoding()).lower() != "utf-8":
        cure = "export PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8"
        sys.stderr.write(f"error: this locale has files' names in {encoding}, expected UTF-8; {cure}\n")
        sys.exit(2)


def main() -> None:
    """Run the command line."""
    settle_encodings()
    from dεps.core.process import begin

    begin()
    from dεps.cli.main import main as deps

    deps(prog_name="deps")


if __name__ == "__main__":
    main()
