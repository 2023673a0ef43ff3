"""Compares the results here with those of the commit, by the hashes in its `dvc.lock` and the numbers of its tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dεps.core.errors import UserError
from dεps.core.hashing import md5
from dεps.report.numbers import NUMBERS, numbers, of_methods, read_recorded, spreads
from dεps.report.publishing.results import published_results
from dεps.report.results import RUNS, Results
from dεps.report.statistics import Spread
from dεps.report.tables import EXPERIMENTS
from dεps.report.verify.git import LOCK, file_of_head, text_of_head
from dεps.report.verify.verification import Number, Verification, compared, enough
from dεps.workspace.outputs import TRAIN_COST

CURE = "'dvc repro' makes it"


def verify(results: Results, changed: Callable[[Collection[str]], set[str]] = lambda _: set()) -> Verification:
    """Compare an experiment's results with those of git's HEAD.

    Args:
        results: those here.
        changed: those of some items of DVC's graph whose code, params or inputs are not what `dvc.lock` says.

    Raises `UserError` where there is nothing to compare with, params are others than the commit's, or results are
    older than the code or params here.
    """
    name = results.experiment
    here, committed = (_stages(text, name) for text in (_read(LOCK), text_of_head(LOCK)))
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
    if found := [path for path in other if path.endswith("/prepare/manifest.json")]:
        raise UserError(f"{found[0]} is not the commit's: with other images {name} is another experiment")
    if not same and not other:
        raise UserError(f"no result of {name} is in {LOCK} both here and in the commit; {CURE}")
    _check_there(results, mine)
    code = _other_code(here, committed)
    if not other:
        return Verification(name, same, other, code, left=left)
    return Verification(name, same, other, code, _compared(results), left)


def _check_there(results: Results, outs: Collection[str]) -> None:
    """Raise `UserError` naming a file of the selected runs that is not here: weights may be missing, numbers not."""
    runs = {f"{method}-{seed}" for method, seed in results.runs}
    own = [Path(path) for path in outs if Path(path).suffix in (".csv", ".json", ".jsonl")]
    lacking = sorted(str(path) for path in own if runs.intersection(path.parts) and not path.exists())
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        are = "are" if more else "is"
        raise UserError(f"{lacking[0]}{more} {are} not here, so that {results.experiment} is not whole; {CURE}")


def has_results(experiment: str) -> bool:
    """Tell whether the commit's `dvc.lock` has results of an experiment. Raises `UserError` where there is none."""
    return bool(_stages(text_of_head(LOCK), experiment))


def _compared(results: Results) -> list[Number]:
    """Each number of the tables, the mean over the seeds that are both here and in the commit."""
    file = EXPERIMENTS / results.experiment / NUMBERS
    with file_of_head(file) as path:
        recorded = read_recorded(path)
    found = compared(numbers(results), recorded, _spreads(results, recorded))
    if not found:
        raise UserError(f"{file} of the commit has no number of these methods and seeds; nothing can be compared")
    return found


def _spreads(results: Results, recorded: pd.DataFrame) -> Mapping[tuple[str, str], Spread]:
    """Spread over seeds of each metric: of the committed results or of published ones, where more is known of it."""
    needed = {str(metric) for metric in recorded.metric.unique()} - {TRAIN_COST.key}
    published = [one for one in published_results() if one.experiment == results.experiment]
    found = [spreads(recorded), *(spreads(of_methods(one)) for one in published)]
    usable = [one for one in found if needed <= {metric for metric, _ in one} and enough(one)]
    if usable:
        return max(usable, key=lambda one: sum(spread.freedom for spread in one.values()))
    name = results.experiment
    there = f"the commit has few seeds of {name}, and so has reports/published/: nothing is known of the spread"
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
