"""Finds the figures of a report: every file of the folder `figures` is one, named by its file.

A figure's file holds a docstring, which describes the figure to those who cannot see it, `ABOUT`, and `draw(results)`,
which returns it. Nothing else names it: the stage draws what is registered here, the page shows it with its provenance,
and the tests run over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path

from matplotlib.figure import Figure

from dεps.report.results import Results

FOLDER = Path(__file__).parent / "figures"


@dataclass(frozen=True)
class About:
    """What a figure's file says about it."""

    title: str
    #: heading of its section on the page; a new heading makes a new section
    section: str
    #: place on the page, ascending; sections come in the order of their first figures
    order: int
    #: how to read it
    note: str
    #: result files that it shows, as `<stage>/<file>`; a file of stage `tune` makes it a figure of studies only,
    #: one of `export` of experiments whose files are here
    sources: tuple[str, ...]
    #: description for readers who cannot see it; empty: the first line of its file's docstring
    alt: str = ""
    #: whether it compares methods' Pareto points; its note then names methods whose points are other archs
    compares_points: bool = False
    #: fewest methods of which it says something
    least_methods: int = 1
    #: whether it has room for variants of a method beside others; else it is drawn of `Results.compared`
    variants: bool = True


@dataclass(frozen=True)
class FigureFile:
    """One figure: what its file says and does."""

    #: name of its file here, and of the files that are drawn of it
    name: str
    file: Path
    about: About
    #: of the results that are `shown`
    drawn: Callable[[Results], Figure]

    def shown(self, results: Results) -> Results:
        """Return the results of the methods that it shows."""
        return results if self.about.variants else results.compared

    def draw(self, results: Results) -> Figure:
        """Draw it of an experiment's results."""
        return self.drawn(self.shown(results))

    @property
    def needs_study(self) -> bool:
        """Whether it shows a study, so that an experiment without one does not have it."""
        return any(source.startswith("tune/") for source in self.about.sources)

    @property
    def needs_exports(self) -> bool:
        """Whether it shows what exported subnets get right, so that other experiments do not have it."""
        return any(source.startswith("export/") for source in self.about.sources)


@cache
def registered() -> tuple[FigureFile, ...]:
    """All figures in the page's order."""
    files = [file for file in FOLDER.glob("*.py") if file.stem != "__init__"]
    return tuple(sorted(map(_figure, files), key=lambda figure: (figure.about.order, figure.name)))


def _figure(file: Path) -> FigureFile:
    module = import_module(f"dεps.report.figures.{file.stem}")
    described = str(module.__doc__).partition("\n")[0].removesuffix(".")
    return FigureFile(file.stem, file, replace(module.ABOUT, alt=module.ABOUT.alt or described), module.draw)


def figures(results: Results) -> list[FigureFile]:
    """The figures of an experiment, in the page's order, without those that it has no study or method for."""
    own = [figure for figure in registered() if results.has_study or not figure.needs_study]
    own = [figure for figure in own if results.has_exports or not figure.needs_exports]
    return [figure for figure in own if len(results.methods) >= figure.about.least_methods]


def sections(results: Results) -> dict[str, list[FigureFile]]:
    """The figures of an experiment by heading, sections in the order of their first figures."""
    found: dict[str, list[FigureFile]] = {}
    for figure in figures(results):
        found.setdefault(figure.about.section, []).append(figure)
    return found
