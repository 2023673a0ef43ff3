"""Tells results of today's params from those of others, which stay out of the store, and names what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dεps.core.console import warn
from dεps.planning.locked import Locked
from dεps.workspace.stage import Context

#: items that a line names
NAMED = 3


def item_of(stage: str, experiment: str, instance: str = "") -> str:
    """Return the name of an item of DVC's graph."""
    return f"{stage}@{experiment}-{instance}".rstrip("-")


def name_of(context: Context, stage: str = "") -> str:
    """Return the name of the item that made this instance's results, or those of another stage of it."""
    return item_of(stage or context.stage, context.experiment, context.instance)


class Today:
    """What `dvc.lock` says of results beside today's `params`, and what it was asked in vain."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._locked = Locked(params)
        self._others, self._there, self._unknown = dict[str, None](), dict[str, None](), dict[str, None]()

    def fits(self, item: str, *outputs: Path) -> bool | None:
        """Tell whether an item's results, known by some outputs, are of today's params; None where that's not known."""
        return self._locked.fits(item, *outputs)

    def leave_out(self, item: str) -> None:
        """Note results of other params."""
        self._others[item] = None

    def leave_there(self, item: str) -> None:
        """Note results that the store has with other params, where nothing says which params they are of."""
        self._there[item] = None

    def doubt(self, item: str) -> None:
        """Note results that were logged though nothing says which params they are of."""
        self._unknown[item] = None

    def warn(self) -> None:
        """Say what was noted, in a line for each kind."""
        if self._others:
            warn(
                f"track: left out {_listed(self._others)}: these results are not of the params and inputs here; "
                "'deps repro' makes them again"
            )
        if self._there:
            warn(
                f"track: the store has the results of {_listed(self._there)} with other params, and nothing here says "
                "that they are of these; left as they are"
            )
        if self._unknown:
            warn(
                f"track: dvc.lock does not say which params {_listed(self._unknown)} ran with; "
                "logged with those of params.yaml"
            )


def _listed(items: Mapping[str, None]) -> str:
    names, more = list(items)[:NAMED], len(items) - NAMED
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
