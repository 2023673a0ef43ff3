"""Validation images that the largest exported subnet gets wrong with the highest probability, and just gets right."""

from __future__ import annotations

from matplotlib.figure import Figure

from dεps.core.tables import records
from dεps.report.drawing import WIDTH, heading_of_first, name_figure
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import INK, SOFT

COLUMNS = 4
#: characters of a class's name that fit below a picture
LETTERS = 15

ABOUT = About(
    title="Images, right and wrong",
    section="Right and wrong",
    order=47,
    note="Of the largest exported subnet of the first method and seed: images that it got wrong though it was surest, "
    "and those that it only just got right. They are of validation, since test images are for final numbers alone. "
    "Labels that look wrong here often are: the first images are where to look for them.",
    sources=("export/examples.csv",),
)


def draw(results: Results) -> Figure:
    """Rows of pictures, each with its class and, where another was answered, that with its probability."""
    table, pictures = results.examples, results.pictures
    groups = [("wrong: class → answer", False), ("just right", True)]
    rows = [[row for row in range(len(table)) if bool(table.right.iloc[row]) == right] for _, right in groups]
    lines = [-(-len(own) // COLUMNS) for own in rows]
    figure = Figure(figsize=(WIDTH, 0.9 + 1.25 * sum(lines)))
    name_figure(figure, heading_of_first(results, "Images, right and wrong"))
    panels = figure.subplots(max(1, sum(lines)), COLUMNS, squeeze=False)
    for axes in panels.ravel():
        axes.axis("off")
    facts, start = records(table), 0
    for (title, right), own, count in zip(groups, rows, lines, strict=True):
        for place, number in enumerate(own):
            axes, row = panels[start + place // COLUMNS][place % COLUMNS], facts[number]
            picture = pictures[number]
            shown = axes.imshow(
                picture.squeeze(), cmap="gray" if picture.shape[-1] == 1 else None, interpolation="nearest"
            )
            shown.set_gid(f"picture-{number}")  # else named by its content, which two may share
            below = _short(row["label"]) if right else f"{_short(row['label'])}\n→ {_short(row['answer'])}"
            axes.text(
                0.5,
                -0.06,
                f"{below} {100 * row['probability']:.0f} %",
                transform=axes.transAxes,
                ha="center",
                va="top",
                fontsize=6.5,
                color=SOFT,
            )
            if place == 0:
                axes.set_title(title, fontsize=7.5, loc="left", color=INK, pad=3)
        start += count
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
