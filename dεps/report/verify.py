"""Compares the results here with those of the commit: the same bits, or numbers that seeds explain.

On the same kind of machine results are the same bits, and then so are the hashes in `dvc.lock`. Another kind of CPU
rounds differently, which a training amplifies until it is as far off as one with another seed. So there a number counts
as reproduced if it differs by no more than two seeds would:

    |here - committed|  ≤  t · s · sqrt(2 / n)

of n seeds, with s the standard deviation over seeds, and t Student's for 95 % over all numbers together (Bonferroni).
Training cost depends on no rounding, and must be the same.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from dεps.core.console import plural, say, show_table
from dεps.core.errors import UserError
from dεps.core.hashing import md5
from dεps.core.tables import columns, matching
from dεps.report.numbers import LOGISTIC, NUMBERS, numbers, of_methods, read_recorded, spreads
from dεps.report.publishing.results import published_results
from dεps.report.results import RUNS, Results
from dεps.report.statistics import CONFIDENCE
from dεps.report.style import label
from dεps.report.tables import EXPERIMENTS, FIGURES
from dεps.workspace.outputs import SHOWN, TRAIN_COST

LOCK = Path("dvc.lock")
#: how far rounding moves logistic regression, which has no seed, in points
CONVEX = 0.25
CURE = "'dvc repro' makes it"


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
    #: folders and files of code that differ from those that the committed results were made with
    code: list[str]
    #: empty where all bits are the same
    numbers: list[Number] = field(default_factory=list)
    #: results that only the commit has, only this `dvc.lock`, or that are not here, as weights may not be
    left: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the experiment is reproduced."""
        return all(number.holds for number in self.numbers)

    def text(self) -> str:
        """The outcome in a sentence."""
        count = plural(len(self.left), "file")
        left = f"; not compared, since not here or not in the commit: {count}" if self.left else ""
        if not self.other:
            all_ = "" if self.left else "all "
            return f"{self.experiment} reproduced: the same bits in {all_}{len(self.same)} result files{left}"
        held = sum(number.holds for number in self.numbers)
        word = "reproduced" if self.holds else "NOT reproduced"
        bits = f"{len(self.same)} of {len(self.same) + len(self.other)} result files are the same bits"
        return f"{self.experiment} {word}: {held} of {len(self.numbers)} numbers within seed noise; {bits}{left}"


def verify(results: Results, changed: Callable[[Collection[str]], set[str]] = lambda _: set()) -> Verification:
    """Compare an experiment's results with those of git's HEAD.

    Args:
        results: those here.
        changed: those of some items of DVC's graph whose code, params or inputs are not what `dvc.lock` says.

    Raises `UserError` where there is nothing to compare with, params are others than the commit's, or results are
    older than the code or params here.
    """
    name = results.experiment
    here, committed = (_stages(text, name) for text in (_read(LOCK), _committed(LOCK)))
    if not (results.folder / "evaluate").is_dir():
        raise UserError(f"{results.folder}/evaluate does not exist; {CURE}")
    if not committed:
        raise UserError(f"the commit has no results of {name} in {LOCK}; commit them, or check out one that has")
    _check_params(here, committed, name)
    if stale := sorted(changed(list(here))):
        more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        edited = f"code, params or data have changed since {stale[0]}{more} ran"
        raise UserError(f"{edited}, so that results of {name} are not those of what is here; {CURE}")
    same, other = [], []
    mine, theirs = _outs(here, name), _outs(committed, name)
    both = sorted(path for path in mine.keys() & theirs.keys() if Path(path).exists())
    left = sorted((mine.keys() | theirs.keys()) - set(both))
    for path in both:
        if Path(path).is_file() and md5(Path(path)) != mine[path]:
            raise UserError(f"{path} is not what {LOCK} says; {CURE}")
        (same if mine[path] == theirs[path] else other).append(path)
    if not same and not other:
        raise UserError(f"no result of {name} is in {LOCK} both here and in the commit; {CURE}")
    code = _other_code(here, committed)
    if not other:
        return Verification(name, same, other, code, left=left)
    return Verification(name, same, other, code, _compared(results), left)


def _compared(results: Results) -> list[Number]:
    """Each number of the tables, the mean over the seeds that are both here and in the commit."""
    file = EXPERIMENTS / results.experiment / NUMBERS
    with _as_file(file) as path:
        recorded = read_recorded(path)
    known = _spreads(results, recorded)
    both = numbers(results).merge(recorded, on=["of", "seed", "metric"], suffixes=("", "_committed"))
    pairs, found = columns(both, "of", "metric").drop_duplicates(), []
    for of, metric in pairs.itertuples(index=False):
        own = matching(both, of=of, metric=metric)
        allowed = CONVEX if of == LOGISTIC else _allowed(known, metric, len(own), len(pairs))
        found.append(Number(of, metric, own.value_committed.mean(), own.value.mean(), allowed))
    if not found:
        raise UserError(f"{file} of the commit has no number of these methods and seeds; nothing can be compared")
    return found


def _allowed(known: pd.DataFrame, metric: str, seeds: int, compared: int) -> float:
    """How far apart two results of so many seeds are, with 95 % over all that are `compared`."""
    from scipy.stats import t

    if metric == TRAIN_COST.key:
        return 1e-6
    std, freedom = known.loc[metric]
    return float(t.ppf(1 - (1 - CONFIDENCE) / 2 / compared, freedom)) * std * math.sqrt(2 / seeds)


def _spreads(results: Results, recorded: pd.DataFrame) -> pd.DataFrame:
    """Spread over seeds of each metric: of the committed results, where these have several, or of published ones."""
    needed = {str(metric) for metric in recorded.metric.unique()} - {TRAIN_COST.key}
    published = [one for one in published_results() if one.experiment == results.experiment]
    for own in (spreads(recorded), *(spreads(of_methods(one)) for one in published)):
        if needed <= set(own.index):
            return own
    name = results.experiment
    there = f"the commit has one seed of {name}, and reports/published/ has not several: nothing is known of the spread"
    raise UserError(f"{there}; 'deps publish {name}' adds those of results here")


def _check_params(here: Mapping[str, Any], committed: Mapping[str, Any], name: str) -> None:
    for stage in here.keys() & committed.keys():
        mine, theirs = (lock[stage].get("params", {}).get("params.yaml", {}) for lock in (here, committed))
        if differing := sorted(_differing(mine, theirs)):
            raise UserError(
                f"{differing[0]} is not the commit's, so that {name} is another experiment; "
                "to compare, 'git checkout params.yaml', then 'dvc repro'"
            )


def _differing(mine: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Keys whose values are not the same."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in mine.keys() | theirs.keys():
            yield from _differing(mine.get(key), theirs.get(key), f"{where}.{key}" if where else str(key))
    elif mine != theirs and where not in ("seeds", "standalone") and not where.endswith((".root", ".workers")):
        yield where


def _other_code(here: Mapping[str, Any], committed: Mapping[str, Any]) -> list[str]:
    found = set[str]()
    for stage in here.keys() & committed.keys():
        mine, theirs = (
            {dep["path"]: dep.get("md5") for dep in lock[stage].get("deps", []) if not dep["path"].startswith("runs")}
            for lock in (here, committed)
        )
        found |= {path for path, hashed in mine.items() if theirs.get(path, hashed) != hashed}
    return sorted(found)


def _stages(text: str, experiment: str) -> dict[str, Any]:
    """The stages of a `dvc.lock` that write results of an experiment."""
    stages = (yaml.safe_load(text) or {}).get("stages", {})
    return {stage: lock for stage, lock in stages.items() if any(_own(out, experiment) for out in lock.get("outs", []))}


def _own(out: Mapping[str, Any], experiment: str) -> bool:
    return str(out["path"]).startswith(f"{(RUNS / experiment).as_posix()}/")


def _outs(stages: Mapping[str, Any], experiment: str) -> dict[str, str]:
    return {
        out["path"]: out["md5"] for lock in stages.values() for out in lock.get("outs", []) if _own(out, experiment)
    }


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {CURE}") from None


def _committed(path: Path) -> str:
    """A file of git's HEAD. Raises `UserError` where there is none."""
    text = _committed_or_none(path)
    if text is None:
        raise UserError(f"the commit has no {path.as_posix()}, to compare with; commit it, or check out one that has")
    return text


def _committed_or_none(path: Path) -> str | None:
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{path.as_posix()}"], capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror}); results are compared with those of a commit") from None
    return done.stdout.decode("utf-8") if done.returncode == 0 else None


@contextmanager
def _as_file(path: Path) -> Iterator[Path]:
    """A file of git's HEAD as one on disk, of the same name."""
    text = _committed(path)
    with tempfile.TemporaryDirectory(prefix="deps-verify-") as folder:
        copy = Path(folder) / path.name
        copy.write_text(text, "utf-8")
        yield copy


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


def git_status(found: Sequence[Verification]) -> str:
    """Sentence that says what `git status` shows of files that the pipeline writes, and why."""
    try:
        command = ["git", "status", "--porcelain", "-z", "--no-renames", "--", LOCK.as_posix(), "reports"]
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return ""
    entries = [entry for entry in done.stdout.decode("utf-8").split("\0") if entry]
    paths = [entry[3:] for entry in entries]
    if done.returncode or not paths:
        return "" if done.returncode else f"git status: {LOCK} and reports/ are as committed"
    others = len([path for path in paths if not path.endswith(LOCK.name)])
    parts = [LOCK.name] * (others < len(paths)) + [f"{plural(others, 'path')} of reports/"] * (others > 0)
    if any(one.code for one in found):
        why = "the commit's were made with other code"
    elif any(one.other for one in found):
        why = "results differ, as they do on another kind of CPU or with other seeds (docs/reproducibility.md)"
    elif found:
        why = "the results are the same bits, but not the params, or the code of other stages"
    else:
        why = "code, params or the kind of CPU are not those of the commit"
    cure = f"git checkout {LOCK} reports"
    if any(entry.startswith("??") for entry in entries):  # not reports/published, which no command can make again
        cure += f" && git clean -fd {EXPERIMENTS} {FIGURES}"
    return f"git status shows {' and '.join(parts)}: {why}; to take the commit's back: {cure}"


def _row(number: Number) -> list[str]:
    titles = {metric.key: (metric.heading, metric.decimals) for metric in SHOWN}
    title, decimals = titles[number.metric]
    values = [f"{value:.{decimals}f}" for value in (number.committed, number.here)]
    difference = f"{number.here - number.committed:+.{decimals}f}".replace("-", "−")
    allowed = f"± {number.allowed:.{decimals}f}"
    of = label(number.of.removesuffix("_alone")) + (" alone" if number.of.endswith("_alone") else "")
    return [of, title, *values, difference, allowed, "" if number.holds else "off"]
