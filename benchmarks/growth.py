"""How what the user waits for, or pays in memory, grows with the size of the work."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.evaluation import Images, Population
from benchmarks.step import peak
from benchmarks.study import seconds_of_bookkeeping
from benchmarks.timing import seconds_of
from benchmarks.toys import sandwich_trainer
from dεps.report.style import STYLE

#: exponent of a power law up to which growth counts as linear: measurements scatter
LINEAR = 1.1
#: panels beside each other
COLUMNS = 3


@dataclass(frozen=True)
class Growth:
    """One curve."""

    title: str
    x: list[float]
    x_label: str
    y: list[float]
    y_label: str

    @property
    def exponent(self) -> float:
        """Slope of the straight line through the logarithms; 1 is linear."""
        return float(np.polyfit(np.log(self.x), np.log(self.y), 1)[0])


def step_time(space: str, batches: Sequence[int], rounds: int) -> Growth:
    """Seconds of a sandwich step over the batch size."""
    seconds = []
    for batch in batches:
        trainer, images, labels = sandwich_trainer(space, batch)

        def step() -> None:
            trainer.step = 0
            trainer._step(images, labels, trainer.phases[-1])

        step()
        seconds.append(float(np.median([seconds_of(step) for _ in range(rounds)])))
    return Growth(f"Sandwich step, {space}", list(batches), "batch size", seconds, "seconds")


def evaluation_time(space: str, counts: Sequence[int], images: Images) -> Growth:
    """Seconds over the number of archs."""
    seconds = [seconds_of(Population(space, count, images).together) for count in counts]
    return Growth(f"Evaluation on {sum(images):,} images, {space}", list(counts), "archs", seconds, "seconds")


def study_time(trials: Sequence[int], workers: int) -> Growth:
    """Seconds of a study of sleeping trials over their number."""
    seconds = [seconds_of_bookkeeping(count, workers) for count in trials]
    title = f"Optuna study of trials of 0.2 s, {workers} worker{'s' if workers > 1 else ''}"
    return Growth(title, list(trials), "trials", seconds, "seconds")


def memory(spaces: Sequence[str], batch: int) -> Growth:
    """Peak memory of steps over the size of the largest net's activations: their number grows with its MACs."""
    found = sorted((_activations(space), peak("sandwich", space, batch)) for space in spaces)
    return Growth(
        f"Memory of a sandwich step, batch {batch}: {', '.join(spaces)}",
        [size for size, _ in found],
        "activations of the largest net (MiB an image)",
        [mib for _, mib in found],
        "MiB",
    )


def _activations(space: str) -> float:
    trainer, _, _ = sandwich_trainer(space, 2)
    layers = trainer.space.layers(trainer.space.largest(), trainer.net.classes, trainer.net.channels)
    return sum(4 * layer.outputs * layer.size**2 for layer in layers) / 2**20


def draw(curves: Sequence[Growth], path: Path) -> None:
    """One panel a curve, both axes logarithmic, with a straight line of slope one through its first point."""
    rows = -(-len(curves) // COLUMNS)
    with plt.style.context(STYLE), plt.rc_context({"svg.hashsalt": path.stem, "font.size": 8}):
        figure, axes = plt.subplots(
            rows, COLUMNS, figsize=(3.2 * COLUMNS, 2.8 * rows), layout="constrained", squeeze=False
        )
        for panel in axes.flat[len(curves) :]:
            panel.remove()
        for panel, curve in zip(axes.flat, curves, strict=False):
            x, y = np.array(curve.x), np.array(curve.y)
            panel.loglog(x, y, "o-", label=f"measured, exponent {curve.exponent:.2f}")
            panel.loglog(x, y[0] * x / x[0], "--", color="0.5", label="linear")
            panel.set_xticks(x, [f"{value:.3g}" for value in x], minor=False)
            panel.xaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_locator(NullLocator())
            panel.set(xlabel=curve.x_label, ylabel=curve.y_label)
            panel.set_title(textwrap.fill(curve.title, 46), fontsize=8)
            panel.legend(fontsize=7)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
