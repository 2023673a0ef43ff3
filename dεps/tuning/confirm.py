"""Measures a study's best trial and its default again, on seeds that did not choose it.

What has been measured is kept in the study, so any number of workers share the seeds, and whoever comes later goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import optuna
import pandas as pd

from dεps.core.hashing import digest
from dεps.tuning.outputs import MEASURES, finished_trials, trials_table
from dεps.tuning.study import OPTIONS, POLL, Outcome, Plan
from dεps.workspace.locks import attempt

#: again(seed, options of several trials) measures each on that seed
Again = Callable[[int, list[dict[str, Any]]], Iterator[Outcome]]
_SIDES = ("default", "best")


def confirm(plan: Plan, study: optuna.Study, again: Again, count: int) -> None:
    """Measure default and best of the first `count` trials on each seed; waits for what other workers are at."""
    pair, left = _rivals(plan, study, count), plan.config.other_seeds()
    while pair and left:
        for seed in list(left):
            with attempt(plan.state / f"seed-{seed}.lock") as free:
                if not free:
                    continue
                missing = [options for options in pair if _key(seed, options) not in study.user_attrs]
                for options, outcome in zip(missing, again(seed, missing) if missing else (), strict=True):
                    study.set_user_attr(_key(seed, options), {**asdict(outcome), "history": [], "points": []})
            left.remove(seed)
        if left:
            time.sleep(POLL)


def confirmation_table(plan: Plan, study: optuna.Study | None, count: int) -> pd.DataFrame:
    """One row a seed on which both have been measured.

    Accuracies of default and best on validation in percent, and what the two trained beside the trunk in 10¹² MACs.
    """
    pair = _rivals(plan, study, count) if study else []
    known, rows = study.user_attrs if study else {}, []
    for seed in plan.config.other_seeds():
        outcomes = [outcome for options in pair if (outcome := known.get(_key(seed, options)))]
        if pair and len(outcomes) == len(pair):
            sides = dict(zip(_SIDES, outcomes, strict=True))
            columns = {f"{side}_{name}": own[key] for side, own in sides.items() for name, key in MEASURES.items()}
            cost = round(sum(own["own_tmacs"] for own in outcomes), 6)
            rows.append({"seed": seed, **columns, "own_tmacs": cost})
    names = [f"{side}_{name}" for side in _SIDES for name in MEASURES]
    return pd.DataFrame(rows, columns=["seed", *names, "own_tmacs"])


def _rivals(plan: Plan, study: optuna.Study, count: int) -> list[dict[str, Any]]:
    """Options of default and best among the first `count` trials; none where one is missing, or they are the same."""
    trials = finished_trials(study, count)
    table = trials_table(plan, trials)
    rows = [table.index[(table.point == "base") & (table.state == "complete")], table.index[table.best]]
    pair = [trials[own[0]].user_attrs[OPTIONS] for own in rows if len(own)]
    return pair if len(pair) == len(_SIDES) and pair[0] != pair[1] else []


def _key(seed: int, options: dict[str, Any]) -> str:
    return f"again/{seed}/{digest(options)}"
