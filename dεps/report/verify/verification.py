"""What became of an experiment's results beside others of it: the same bits, or numbers that seeds explain.

On the same kind of machine results are the same bits. Another kind of CPU rounds differently, which a training
amplifies until it is as far off as one with another seed. So there a number counts as reproduced if it differs by no
more than two seeds would:

    |here - there|  ≤  t · s · sqrt(2 / n)

of n seeds, with s the standard deviation over seeds, and t Student's for 95 % over all numbers together (Bonferroni).
s is the method's own, moderated by those of the others, since methods differ in how far seeds move them. Training cost
depends on no rounding, and must be the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dεps.core.console import plural, say, show_table
from dεps.core.tables import columns, matching
from dεps.report.numbers import LOGISTIC, OTHERS
from dεps.report.results import RUNS
from dεps.report.statistics import CONFIDENCE, Spread
from dεps.report.style import label
from dεps.workspace.outputs import SHOWN, TRAIN_COST

#: how far rounding moves logistic regression, which has no seed, in points
CONVEX = 0.25
#: fewest degrees of freedom of a spread by which numbers are judged: with one, results may be 100 of it apart
LEAST_FREEDOM = 2
#: stages whose results are numbers of the tables
_JUDGED = ("prepare", "full_model", "standalone", "train", "evaluate", "predict", "reference")


class Number(NamedTuple):
    """One number of the tables: committed, here, and how far apart seeds would bring them."""

    of: str
    metric: str
    committed: float
    here: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is reproduced."""
        return abs(self.here - self.committed) <= self.allowed


@dataclass(frozen=True)
class Verification:
    """What became of one experiment's results."""

    experiment: str
    #: files and folders of results with the same bits, and those with others
    same: list[str]
    other: list[str]
    #: folders, files or stages whose code differs from what the committed results were made with
    code: list[str]
    #: empty where all bits are the same
    numbers: list[Number] = field(default_factory=list)
    #: results that only the commit has, only this `dvc.lock`, or that are not here, as weights may not be
    left: list[str] = field(default_factory=list)
    #: what they are beside, where that is not the commit's `dvc.lock`: published seeds
    beside: str = ""

    @property
    def holds(self) -> bool:
        """Whether the experiment is reproduced."""
        return all(number.holds for number in self.numbers)

    def text(self) -> str:
        """The outcome in a sentence."""
        count = plural(len(self.left), "file")
        left = f"; not compared, since not here or not in the commit: {count}" if self.left else ""
        beside = f" beside {self.beside}" if self.beside else ""
        if not self.other:
            all_ = "" if self.left else "all "
            return f"{self.experiment} reproduced{beside}: the same bits in {all_}{len(self.same)} result files{left}"
        held = sum(number.holds for number in self.numbers)
        equal = sum(number.here == number.committed for number in self.numbers)
        word = "reproduced" if self.holds else "NOT reproduced"
        bits = f"{len(self.same)} of {len(self.same) + len(self.other)} result files are the same bits"
        numbers = f"{held} of {len(self.numbers)} numbers within seed noise"
        numbers += f", {'all' if equal == len(self.numbers) else equal} equal" if equal else ""
        unjudged = f"; what differs in {', '.join(self.unjudged)} is no number of these" if self.unjudged else ""
        return f"{self.experiment} {word}{beside}: {numbers}; {bits}{unjudged}{left}"

    @property
    def unjudged(self) -> list[str]:
        """Stages with files that differ, of which no number is compared."""
        parts = [Path(path).parts for path in self.other]
        stages = {own[2] if own[0] == RUNS.name else own[0].partition("-")[0] for own in parts}
        return sorted(stages - set(_JUDGED))


def enough(known: Mapping[tuple[str, str], Spread]) -> bool:
    """Whether spreads are known well enough to judge by."""
    return all(one.freedom >= LEAST_FREEDOM for (metric, _), one in known.items() if metric != TRAIN_COST.key)


def compared(here: pd.DataFrame, there: pd.DataFrame, known: Mapping[tuple[str, str], Spread]) -> list[Number]:
    """Each number that both have, the mean over the seeds that both have.

    Args:
        here, there: rows (of, seed, metric, value), as `dεps.report.numbers` has them.
        known: `spreads` by metric and what it is of. Of a metric that it lacks nothing is allowed.
    """
    both = here.merge(there, on=["of", "seed", "metric"], suffixes=("", "_committed"))
    pairs, found = columns(both, "of", "metric").drop_duplicates(), []
    for of, metric in pairs.itertuples(index=False):
        own = matching(both, of=of, metric=metric)
        spread = known.get((metric, of), known.get((metric, OTHERS)))
        allowed = CONVEX if of == LOGISTIC else _allowed(spread, metric, len(own), len(pairs))
        found.append(Number(of, metric, own.value_committed.mean(), own.value.mean(), allowed))
    return found


def _allowed(spread: Spread | None, metric: str, seeds: int, compared: int) -> float:
    """How far apart two results of so many seeds are, with 95 % over all that are `compared`."""
    from scipy.stats import t

    if metric == TRAIN_COST.key:
        return 1e-6
    if spread is None:
        return 0.0
    return float(t.ppf(1 - (1 - CONFIDENCE) / 2 / compared, spread.freedom)) * spread.std * math.sqrt(2 / seeds)


def print_verifications(found: Sequence[Verification]) -> None:
    """Print a table of the numbers where bits differ, and the outcome of each experiment in a sentence."""
    for one in found:
        if one.numbers:
            right: Mapping[str, Any] = {"justify": "right"}
            headings = {"of": {}, "number": {}} | dict.fromkeys(("committed", "here", "difference", "allowed"), right)
            show_table(map(_row, one.numbers), {**headings, "": {}}, f"{one.experiment}: numbers of the tables")
        if one.code:
            say(f"code is not what the committed results were made with: {', '.join(one.code)}")
        say(one.text())


def _row(number: Number) -> list[str]:
    titles = {metric.key: (metric.heading, metric.decimals) for metric in SHOWN}
    title, decimals = titles[number.metric]
    values = [f"{value:.{decimals}f}" for value in (number.committed, number.here)]
    difference = f"{number.here - number.committed:+.{decimals}f}".replace("-", "−")
    allowed = f"± {number.allowed:.{decimals}f}"
    of = label(number.of.removesuffix("_alone")) + (" alone" if number.of.endswith("_alone") else "")
    return [of, title, *values, difference, allowed, "" if number.holds else "off"]
