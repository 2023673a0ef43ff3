"""What the dots of a figure stand for: rows of a table beside the figure, and ids in its SVG that lead to them.

    dots(artist, "DεpS", frame)  ──▶  id dots-0-0   its nth dot is the nth row of the frame; a bar is one dot
    part(artist, "DεpS")         ──▶  id part-0-1   goes with the same series: a band, a line without dots
    a legend's entry             ──▶  id key-0-…    the series of this name, else key-x-…
    table(figure)                ──▶  <figure>.csv  all rows in the order of the ids

The page finds by them what a reader points at, and switches series off and on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote
from weakref import WeakKeyDictionary

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Rectangle

from dεps.core.tables import column, records
from dεps.report.statistics import Sample

#: digits after the point of numbers that are means
_DIGITS = 4


@dataclass
class _Marks:
    series: list[str] = field(default_factory=list)
    frames: list[pd.DataFrame] = field(default_factory=list)
    count: int = 0


_OF: WeakKeyDictionary[Figure, _Marks] = WeakKeyDictionary()


def dots(artist: Artist, series: str, frame: pd.DataFrame) -> None:
    """Say what an artist's dots are, a row each, in the order in which they are drawn."""
    marks = _name(artist, series, "dots")
    own = frame.reset_index(drop=True)
    own.insert(0, "series", series)
    marks.frames.append(own)


def area(axes: Axes, x: float, y: float, width: float, height: float, series: str, row: Mapping[str, object]) -> None:
    """Lay an area over what is drawn there and shows nothing; pointed at, it tells `row`. x and y are its corner."""
    frame = Rectangle((x, y), width, height, facecolor="none", edgecolor="none", linewidth=0)
    axes.add_patch(frame)
    dots(frame, series, pd.DataFrame([row]))


def part(artist: Artist, series: str) -> None:
    """Say which series an artist without dots of its own belongs to."""
    _name(artist, series, "part")


def _name(artist: Artist, series: str, kind: str) -> _Marks:
    figure = artist.get_figure(root=True)
    if figure is None:
        raise ValueError(f"a {type(artist).__name__} of {series} is on no figure; expected one that is drawn")
    marks = _OF.setdefault(figure, _Marks())
    if series not in marks.series:
        marks.series.append(series)
    artist.set_gid(f"{kind}-{marks.series.index(series)}-{marks.count}")
    marks.count += 1
    return marks


def name_legends(figure: Figure) -> None:
    """Give legends and their entries ids, once all series are drawn."""
    series = _OF[figure].series if figure in _OF else []
    for legend in _legends(figure):
        legend.set_gid("legend")
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            label = text.get_text()
            number = series.index(label) if label in series else "x"
            if handle is not None:
                handle.set_gid(f"key-{number}-{quote(label, safe='')}")


def _legends(figure: Figure) -> Iterator[Legend]:
    yield from figure.legends
    yield from filter(None, (axes.get_legend() for axes in figure.axes))


def table(figure: Figure) -> pd.DataFrame:
    """All rows, with the name of their series in front; empty where nothing was named."""
    frames = _OF[figure].frames if figure in _OF else []
    return pd.concat(frames, ignore_index=True).round(_DIGITS) if frames else pd.DataFrame()


def runs(method: str, seeds: list[int]) -> str:
    """Names of a method's runs, as the table of runs calls them."""
    return " ".join(f"{method}-{seed}" for seed in sorted(seeds))


def over_seeds(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Rows `by`, ascending, of a method's `value` over seeds: mean, std (0 of one), low and high, runs.

    `low` and `high` are the ends of the 95 % interval over seeds, empty of one seed.
    """
    found = []
    for _, own in frame.groupby(by, sort=True):
        first, sample = records(own)[0], Sample.of(column(own, value))
        ends = sample.interval
        row = {key: first[key] for key in by} | {"mean": sample.mean, "std": sample.std or 0.0}
        row |= {"low": ends.low if ends else None, "high": ends.high if ends else None}
        found.append(row | {"runs": runs(first["method"], own["seed"].tolist())})
    return pd.DataFrame(found, columns=[*by, "mean", "std", "low", "high", "runs"])
