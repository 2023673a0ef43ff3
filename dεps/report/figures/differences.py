"""Each method's top-1 minus DεpS's, paired by seed, with 95 % intervals; one panel a size of arch."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from dεps.core.tables import column, matching
from dεps.report.drawing import heading, titled_panels
from dεps.report.marks import dots, part, runs
from dεps.report.quantities import comparable
from dεps.report.registry import About
from dεps.report.results import Results
from dεps.report.statistics import paired
from dεps.report.style import FAINT, colours, label

#: the method that others are compared with, where it is among them
BASE = "deps"
#: panels: metric, and its title
PANELS = {"pareto/smallest_top1": "smallest", "pareto/mean_top1": "mean Pareto", "pareto/largest_top1": "largest"}

ABOUT = About(
    title="Differences between methods",
    section="Accuracy of subnets",
    order=12,
    note="Each method minus the first, paired by seed: faint dots are seeds, a dot with whiskers is the mean with its "
    "95 % interval (Student's t, from six seeds on BCa bootstrap). An interval across the line leaves open which "
    "method is better; one beside it too, unless the exact sign-flip test agrees, which takes six seeds at the least. "
    "Of one seed nothing is known of the spread. A method that fewer seeds have says how many. Where the Pareto points "
    "of two methods are other archs, the difference is over those that both have.",
    sources=("evaluate/metrics.json",),
    compares_points=True,
    least_methods=2,
)


def draw(results: Results) -> Figure:
    """One row a method, one panel a metric; the vertical line is no difference."""
    results = results.every
    base = BASE if BASE in results.methods else results.methods[0]
    others = [method for method in results.methods if method != base]
    title = heading(results, f"Top-1 on test, minus that of {label(base)}")
    height = 0.8 + len(PANELS) * (0.4 + 0.2 * max(1, len(others)))
    figure, panels = titled_panels(title, len(PANELS), 1, height, sharex=True, sharey=True)
    for axes, (key, name) in zip(panels, PANELS.items(), strict=True):
        axes.axvline(0, color=FAINT, linewidth=0.9, zorder=0)
        for row, method in enumerate(others):
            found = paired(comparable(results, method, base), key, method, base)
            if found is None:
                continue
            colour = colours(results.methods)[method]
            series, facts = label(method), {"method": method, "against": label(base), "metric": name}
            (seeds,) = axes.plot(found.values, [row] * found.count, "o", color=colour, alpha=0.35, markersize=3.5)
            shared = _shared(results, method, base)
            own = [runs(method, [seed]) for seed in shared]
            dots(seeds, series, pd.DataFrame({**facts, "difference": found.values, "runs": own}))
            ends = found.interval
            error = [[found.mean - ends.low], [ends.high - found.mean]] if ends else None
            line, caps, bars = axes.errorbar(
                [found.mean], [row], xerr=error, fmt="o", color=colour, markersize=5, capsize=2.5
            )
            facts |= {"difference": found.mean, "low": ends.low if ends else None, "high": ends.high if ends else None}
            dots(line, series, pd.DataFrame([facts | {"runs": runs(method, shared)}]))
            for one in (*caps, *bars):
                part(one, series)
        axes.set_title(name, fontsize=8.5, fontweight="normal", loc="left", pad=3)
        axes.grid(axis="y", visible=False)
    panels[-1].set_xlabel("difference in points of top-1")
    counts = [len(_shared(results, method, base)) for method in others]
    fewer = [f" ({count})" if count < len(results.seeds) else "" for count in counts]
    panels[0].set_yticks(range(len(others)), [label(method) + more for method, more in zip(others, fewer, strict=True)])
    panels[0].set_ylim(len(others) - 0.4, -0.6)
    return figure


def _shared(results: Results, method: str, base: str) -> list[int]:
    """Seeds that both methods have, ascending."""
    ours, theirs = (set(column(matching(results.metrics, method=name), "seed")) for name in (method, base))
    return sorted(ours & theirs)
