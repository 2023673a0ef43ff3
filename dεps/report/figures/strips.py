"""Searched archs as strips: one block per layer, its height the expand ratio, its strength of colour the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dεps.core.errors import UserError
from dεps.core.tables import matching, records
from dεps.report.drawing import SMALL, WIDTH, name_figure, three_digits
from dεps.report.marks import area, runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import FAINT, INK, SOFT, colours, label
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.tables import CURE

ABOUT = About(
    title="Searched archs, layer by layer",
    section="Prediction and search",
    order=32,
    alt="Up to three searched archs of each method as strips of blocks: one block a layer, its height the expand "
    "ratio, its strength and number the kernel, beside MACs and top-1",
    note="Archs of each front whose accuracy on validation was measured, spread by MACs.",
    sources=("search/front.csv",),
)
#: number of archs per method
SHOWN = 3
#: height of the largest block as a share of a row; distance between two methods in rows
FULL_HEIGHT, BETWEEN = 0.82, 0.5
#: inches per row; distance between two stages in blocks
ROW, GAP = 0.27, 0.7
#: opacity of the smallest and of the largest kernel
PALEST, STRONGEST = 0.25, 0.8


class Strip(NamedTuple):
    """One arch as drawn: MACs in millions, top-1 in percent, and whether that was measured, not only predicted."""

    arch: Arch
    macs: float
    top1: float
    measured: bool


def chosen(front: pd.DataFrame) -> list[Strip]:
    """Up to `SHOWN` archs of one front, evenly spread by rank of MACs; measured ones, where there are any."""
    measured = front.dropna(subset=["measured"])
    known = len(measured) > 0
    archs = records((measured if known else front).sort_values("macs", kind="stable"))
    places = np.unique(np.linspace(0, len(archs) - 1, min(SHOWN, len(archs))).round().astype(int))
    rows, top1 = (archs[place] for place in places), "measured" if known else "predicted"
    return [Strip(Arch.parse(row["arch"]), row["macs"] / 1e6, row[top1], known) for row in rows]


def draw(results: Results) -> Figure:
    """A few searched archs of each method, of the first seed.

    Raises `UserError` naming the file that holds an arch of another space.
    """
    space, seed = results.space, results.seeds[0]
    searched = matching(results.searched, seed=seed)
    for found in records(searched):
        if not space.writes(found["arch"]):
            file = results.folder / "search" / f"{found['method']}-{seed}" / "front.csv"
            raise UserError(f"{file}: column 'arch' holds {found['arch']!r}, no arch of the space; {CURE}")
    strips = {method: chosen(matching(searched, method=method)) for method in results.methods}
    count = sum(map(len, strips.values()))
    height = count + BETWEEN * (len(strips) - 1)
    figure = Figure(figsize=(WIDTH, 1.5 + ROW * height))
    axes = figure.subplots()
    name_figure(figure, f"Searched archs, layer by layer\n({results.manifest['name']}, seed {seed})")
    slots, areas = list(_slots(space)), []
    sizes = len(space.resolution) > 1
    end = slots[-1][-1] + (2.8 if sizes else 1)
    row = 0.0
    for method, own in strips.items():
        axes.text(-1.0, row + (len(own) - 1) / 2, label(method), ha="right", va="center", fontweight="bold")
        for strip in own:
            _draw_strip(axes, row, strip, space, slots, colours(results.methods)[method])
            areas.append((row, method, strip))
            mark = "" if strip.measured else " predicted"
            if sizes:
                axes.text(end + 0.3, row, f"{strip.arch.resolution} px", ha="right", va="center", fontsize=8)
            axes.text(end + 2.6, row, three_digits(strip.macs), ha="right", va="center", fontsize=8)
            axes.text(end + 5.9, row, f"{strip.top1:.1f}{mark}", ha="right", va="center", fontsize=8)
            row += 1
        row += BETWEEN
    for number, places in enumerate(slots, 1):
        middle = (places[0] + places[-1] + 1) / 2
        axes.text(middle, -0.75, f"stage {number}", ha="center", va="bottom", fontsize=8, color=SOFT)
    axes.text(end + 2.6, -0.75, "M MACs", ha="right", va="bottom", fontsize=8, color=SOFT)
    axes.text(end + 5.9, -0.75, "top-1 (%)", ha="right", va="bottom", fontsize=8, color=SOFT)
    axes.set(xlim=(-1.0, end + 6.0), ylim=(height - 0.4, -0.8))
    axes.axis("off")
    for row, method, strip in areas:
        facts = {"method": method, "name": "searched", "arch": str(strip.arch), "macs": round(strip.macs * 1e6)}
        facts |= {"top1": strip.top1, "of": "validation" if strip.measured else "validation, predicted"}
        facts["runs"] = runs(method, [seed])
        area(axes, -0.1, row - 0.5, end + 6.0, 1.0, label(method), facts)
    _legend(figure, space)
    return figure


def _slots(space: SearchSpace) -> Iterator[list[float]]:
    """Left edges of the layers that each stage can have."""
    left = 0.0
    for stage in space.stages:
        depth = max(stage.depth)
        yield [left + number for number in range(depth)]
        left += depth + GAP


def _draw_strip(
    axes: Axes, row: float, strip: Strip, space: SearchSpace, slots: list[list[float]], colour: str
) -> None:
    bottom = row + FULL_HEIGHT / 2
    kernels, widest = _kernels(space), max(expand for stage in space.stages for expand in stage.expand)
    for stage, places in zip(strip.arch.stages, slots, strict=True):
        for place, block in zip(places, stage, strict=False):
            height, strength = FULL_HEIGHT * block.expand / widest, _strength(block.kernel, kernels)
            axes.bar(place + 0.46, -height, 0.92, bottom, color=colour, alpha=strength, linewidth=0)
            axes.text(
                place + 0.46, bottom - 0.06, str(block.kernel), ha="center", va="bottom", fontsize=SMALL, color=INK
            )
        for place in places[len(stage) :]:
            axes.plot([place + 0.1, place + 0.82], [bottom - 0.02] * 2, color=FAINT, linewidth=1.0)


def _kernels(space: SearchSpace) -> list[int]:
    return sorted({kernel for stage in space.stages for kernel in stage.kernel})


def _strength(kernel: int, kernels: list[int]) -> float:
    if len(kernels) == 1:
        return STRONGEST
    return PALEST + (STRONGEST - PALEST) * kernels.index(kernel) / (len(kernels) - 1)


def _legend(figure: Figure, space: SearchSpace) -> None:
    kernels = _kernels(space)
    handles = [Patch(color=INK, alpha=_strength(k, kernels), linewidth=0, label=f"kernel {k}") for k in kernels]
    expands = ", ".join(f"{e:g}" for e in sorted({e for stage in space.stages for e in stage.expand}))
    texts = f"height: expand ratio ({expands})", "line: layer left out"
    handles += [Patch(alpha=0, label=text) for text in texts]
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=7.5, columnspacing=1.0)
