"""Heat map of which classes the largest exported subnet takes for which, in percent of each class's test images."""

from __future__ import annotations

import numpy as np
import seaborn
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from dεps.core.tables import records, rows_where
from dεps.report.drawing import SMALL, WIDTH, heading_of_first, name_figure
from dεps.report.marks import area, runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import INK, PAPER, SOFT, colours, label

#: a label and an answer, by number; the corner of the area that shows how often; its size
Place = tuple[tuple[int, int], tuple[float, float], tuple[float, float]]
#: of more classes the most confused pairs are shown instead
MOST, PAIRS = 20, 20

ABOUT = About(
    title="Confused classes",
    section="Right and wrong",
    order=46,
    note="Of the largest exported subnet of the first method and seed, on test: of 100 images of a row's class, how "
    "many were taken for each column's. Of more than 20 classes the pairs that are confused most often are shown.",
    sources=("export/confusion.csv",),
)


def draw(results: Results) -> Figure:
    """A square of all classes, or bars of the most confused pairs."""
    names, budget = results.manifest["classes"], results.confusion.budget.iloc[-1]
    table = rows_where(results.confusion, results.confusion.budget == budget)
    place, counts = {name: number for number, name in enumerate(names)}, np.zeros((len(names), len(names)))
    for row in records(table):
        counts[place[row["label"]], place[row["answer"]]] = row["images"]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.nan_to_num(100 * counts / counts.sum(1, keepdims=True))
    title = heading_of_first(results, "Confused classes")
    colour = colours(results.methods)[results.methods[0]]
    draw = _square if len(names) <= MOST else _pairs
    figure, places = draw(title, names, shares, colour)
    method, run = label(results.methods[0]), runs(results.methods[0], results.seeds[:1])
    for (of, answer), corner, size in places:
        if counts[of, answer]:
            facts = {"class": names[of], "taken for": names[answer], "images": int(counts[of, answer])}
            area(figure.axes[0], *corner, *size, method, facts | {"of 100": shares[of, answer], "runs": run})
    return figure


def _square(title: str, names: list[str], shares: np.ndarray, colour: str) -> tuple[Figure, list[Place]]:
    figure = Figure(figsize=(WIDTH, 1.2 + max(2.2, 0.34 * len(names))))
    axes = figure.subplots()
    name_figure(figure, title)
    tints = LinearSegmentedColormap.from_list("tints", [(colour, 0.0), (colour, 1.0)])  # over any background
    texts = np.where(shares >= 0.5, np.floor(shares + 0.5).astype(int).astype(str), "")
    options = {"cmap": tints, "vmin": 0, "vmax": 100, "cbar": False, "linewidths": 0.4, "linecolor": PAPER}
    seaborn.heatmap(
        shares,
        annot=texts,
        fmt="",
        annot_kws={"size": SMALL, "color": INK},
        xticklabels=names,
        yticklabels=names,
        ax=axes,
        **options,
    )
    axes.tick_params(labelsize=SMALL, colors=SOFT, length=0)
    axes.tick_params(axis="x", rotation=40)
    for text in axes.get_xticklabels():
        text.set_horizontalalignment("right")
        text.set_rotation_mode("anchor")
    axes.set(xlabel="taken for", ylabel="class (%)")
    return figure, [((row, column), (column, row), (1, 1)) for row, column in np.ndindex(shares.shape)]


def _pairs(title: str, names: list[str], shares: np.ndarray, colour: str) -> tuple[Figure, list[Place]]:
    wrong = shares * (1 - np.eye(len(names)))
    worst = [
        number for number in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS].tolist() if wrong.flat[number] > 0
    ]
    figure = Figure(figsize=(WIDTH, 1.2 + 0.19 * max(4, len(worst))))
    axes = figure.subplots()
    name_figure(figure, title)
    pairs = [divmod(number, len(names)) for number in worst][::-1]
    axes.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color=colour, height=0.6)
    axes.set_yticks(range(len(pairs)), [f"{names[label]} → {names[answer]}" for label, answer in pairs])
    axes.tick_params(axis="y", labelsize=SMALL, colors=SOFT, length=0)
    axes.set(xlabel="images of the class that were taken for the other (%)")
    return figure, [(pair, (0, row - 0.3), (float(wrong[pair]), 0.6)) for row, pair in enumerate(pairs)]
