"""Dots of each class's accuracy, of the smallest and of the largest exported subnet, joined by a line."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from dεps.core.tables import column, matching
from dεps.report.drawing import SMALL, WIDTH, heading_of_first, legend_below, name_figure
from dεps.report.marks import dots, runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import FAINT, SOFT, colours

#: classes, of which there may be thousands, that are shown: those with the lowest accuracy, and with the highest
WORST, BEST = 20, 5

ABOUT = About(
    title="Accuracy by class",
    section="Right and wrong",
    order=45,
    note="Test accuracy of each class, of the smallest and the largest exported subnet of the first method and seed: "
    "which classes a small budget costs most. Lines through the large dots are one standard error, by the number of "
    "test images; in brackets the number of training images. Of many classes the worst and the best are shown; all "
    "are in export/…/classes.csv.",
    sources=("export/classes.csv",),
)


def draw(results: Results) -> Figure:
    """One line a class, the least accurate at the bottom."""
    table, (method, seed) = results.classes, results.runs[0]
    budgets = list(dict.fromkeys(table.budget))
    small, large = (matching(table, budget=budget).set_index("class") for budget in (budgets[0], budgets[-1]))
    ordered = large.dropna(subset=["test_top1"]).sort_values("test_top1", kind="stable").index.tolist()
    if len(ordered) > WORST + BEST:
        ordered = [*ordered[:WORST], *ordered[-BEST:]]
    small, large, places = small.loc[ordered], large.loc[ordered], np.arange(len(ordered))
    figure = Figure(figsize=(WIDTH, 1.5 + 0.19 * len(ordered)))
    axes = figure.subplots()
    name_figure(figure, heading_of_first(results, "Accuracy by class"))
    colour = colours(results.methods)[method]
    axes.hlines(places, small.test_top1, large.test_top1, color=FAINT, linewidth=1.2, zorder=1)
    share = large.test_top1 / 100
    error = 100 * np.sqrt(share * (1 - share) / large.test)
    axes.errorbar(large.test_top1, places, xerr=error, fmt="none", ecolor=colour, elinewidth=0.8, zorder=2)
    for budget, own, face in ((budgets[0], small, "none"), (budgets[-1], large, colour)):
        (drawn,) = axes.plot(
            own.test_top1, places, "o", color=colour, markerfacecolor=face, markersize=4.5, label=budget, zorder=3
        )
        facts = own.reset_index().rename(columns={"class": "name", "test_top1": "top1"})[["name", "top1"]]
        dots(drawn, budget, facts.assign(method=method, of="test", runs=runs(method, [seed])))
        if budgets[0] == budgets[-1]:
            break
    counts = column(large, "train").astype(int)
    axes.set_yticks(places, [f"{name} ({count:,})" for name, count in zip(ordered, counts, strict=True)])
    axes.tick_params(axis="y", labelsize=SMALL, colors=SOFT, length=0)
    axes.set(xlabel="top-1 on test (%)", ylim=(-0.7, len(ordered) - 0.3))
    legend_below(figure)
    return figure
