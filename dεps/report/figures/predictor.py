"""Scatter plots of predicted over measured accuracy of unseen archs, one panel a method, with Kendall's τ."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from dεps.core.tables import column, matching
from dεps.core.tables import columns as columns_of
from dεps.report.drawing import SMALL, heading, titled_panels
from dεps.report.marks import dots, runs
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.style import SOFT, colours, label
from dεps.report.tables import over_seeds
from dεps.workspace.outputs import TAU

ABOUT = About(
    title="Accuracy predictor",
    section="Prediction and search",
    order=30,
    note="The closer to the diagonal, the better; τ = 1 would order all archs rightly. Each arch is predicted by "
    "what was fitted without it; ± is the standard deviation over folds. Beside it the τ of MACs alone, and that "
    "of a second measurement: how accuracies on test order the same archs. It is no ceiling: luck with images is in "
    "both measurements, and not in a good predictor. Nothing is chosen by test accuracy.",
    sources=("predict/predictions.csv", "predict/metrics.json"),
)


def draw(results: Results) -> Figure:
    """One panel a method, three in a row, with a dot an arch."""
    columns = min(2, len(results.methods))
    lines = math.ceil(len(results.methods) / columns)
    title = heading(results, "Accuracy predictor, cross-validated")
    figure, panels = titled_panels(title, lines, columns, 0.9 + 1.75 * lines, sharex=True, sharey=True)
    values = results.predictions[["measured", "predicted"]].to_numpy()
    ends = [values.min(), values.max()]
    for axes, method in zip(panels, results.methods, strict=False):
        own, metrics = matching(results.predictions, method=method), matching(results.metrics, method=method)
        axes.plot(ends, ends, color=SOFT, linewidth=0.8, zorder=1)
        colour = colours(results.methods)[method]
        (drawn,) = axes.plot(own.measured, own.predicted, "o", color=colour, alpha=0.6, markersize=4, markeredgewidth=0)
        facts = columns_of(own, "method", "arch", "macs", "predicted").assign(top1=own.measured, of="validation")
        dots(drawn, label(method), facts.assign(runs=[runs(method, [seed]) for seed in own.seed]))
        axes.set_title(
            f"{label(method)}\nτ = {over_seeds(metrics, TAU)}", fontsize=8.5, fontweight="normal", loc="left", pad=5
        )
        macs, test = (column(metrics, f"predictor/{name}_kendall_tau").mean() for name in ("macs", "ceiling"))
        text = f"MACs {macs:.2f}\ntest {test:.2f}\nn = {len(own)}"
        axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", color=SOFT, fontsize=SMALL)
    for axes in panels[len(results.methods) :]:
        axes.set_visible(False)
    figure.supxlabel("measured top-1 on validation (%)", fontsize=9)
    figure.supylabel("predicted (%)", fontsize=9)
    return figure
