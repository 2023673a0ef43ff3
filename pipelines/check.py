"""Stage `check`: the whole of params.yaml, before any other stage runs.

DVC takes names and lists as they stand in the file: a wrong one would be noticed hours later, or name another folder,
which DVC empties before the stage can look.
"""

from __future__ import annotations

from pathlib import Path

from dεps.core.files import write_json
from dεps.core.params import read_params
from dεps.planning.check import check_params
from dεps.workspace.stage import guarded

#: always the same, so that nothing runs again because other params were checked
DONE = Path("reports/checked.json")


def main() -> None:
    """Refuse wrong params in one line."""
    check_params(read_params())
    write_json(DONE, {"params.yaml": "checked"})


if __name__ == "__main__":
    guarded(main)
