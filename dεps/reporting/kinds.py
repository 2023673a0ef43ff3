"""Which figures an experiment has."""

from __future__ import annotations

from dεps.reporting import figures, tuning
from dεps.reporting.figures import FigureKind
from dεps.reporting.results import Results


def kinds(results: Results) -> list[FigureKind]:
    """The figures of every experiment, and those of its study where it has one."""
    return [*figures.FIGURES, *(tuning.FIGURES if results.has_study else [])]
