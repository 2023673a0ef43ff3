"""What a study leaves as results: tables of trials and curves, importances, the best parameters, metrics.

Nothing here depends on when, where or under which number a trial ran.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from dεps.core.files import write_atomic, write_json
from dεps.core.tables import column, columns, matching, records, rows_where
from dεps.spaces.pareto import front
from dεps.tuning.config import SEARCHED, TuningConfig, as_option
from dεps.tuning.draw import POINT
from dεps.tuning.study import FINISHED, OPTIONS, OUTCOME, Plan, count_diverged
from dεps.tuning.verdict import paired_gain, verdict
from dεps.workspace.outputs import BEST, CONFIRMATION, IMPORTANCE, SUMMARY, TRIAL_CURVES, TRIAL_POINTS, TRIALS

#: accuracies of a trial on validation, by what an outcome calls them
MEASURES = {"val_top1": "accuracy", "val_smallest_top1": "smallest", "val_largest_top1": "largest"}
#: fewer complete trials say nothing about what matters
ENOUGH = 5


def write(
    plan: Plan,
    study: optuna.Study | None,
    experiment: str,
    full_model_tmacs: float,
    confirmation: pd.DataFrame,
    out: Path,
) -> dict[str, Any]:
    """Write the tables of trials, points, curves, importances, confirmation; `best.yaml`; and `summary.json`.

    Returns the last. Of a study with more trials than asked for, the first count.
    """
    config, trials = plan.config, finished_trials(study, plan.config.trials)
    table = trials_table(plan, trials)
    TRIALS.write(_exact(table, option_names(config)), out)
    TRIAL_POINTS.write(outcomes_table(trials, "points", "name", "macs", "val_top1"), out)
    TRIAL_CURVES.write(curves_table(trials), out)
    IMPORTANCE.write(importances(table, plan.config), out)
    CONFIRMATION.write(confirmation, out)
    diverged = count_diverged(study, config.trials) if study else 0
    summary = summarise(config, table, full_model_tmacs, confirmation, diverged)
    write_atomic(out / BEST, best_yaml(config, experiment, table, summary))
    write_json(out / SUMMARY, summary)
    return summary


def finished_trials(study: optuna.Study | None, count: int) -> list[FrozenTrial]:
    """The first `count` that are finished."""
    return list(study.get_trials(deepcopy=False, states=FINISHED))[:count] if study else []


def option_names(config: TuningConfig) -> list[str]:
    """Options that trials differ in."""
    return list(dict.fromkeys([*SEARCHED, "distill", *(key for point in config.points for key in point)]))


def _exact(table: pd.DataFrame, options: list[str]) -> pd.DataFrame:
    """The table with options that are numbers as text, to the last bit: those of base and points may be any."""
    numbers = [name for name in options if pd.api.types.is_float_dtype(column(table, name))]
    return table.assign(**{name: [repr(float(value)) for value in column(table, name)] for name in numbers})


def trials_table(plan: Plan, trials: list[FrozenTrial]) -> pd.DataFrame:
    """One row a finished trial: options, accuracies on validation in percent, costs in 10¹² MACs, what it is."""
    names = option_names(plan.config)
    rows = []
    for number, trial in enumerate(trials):
        options, outcome = trial.user_attrs[OPTIONS], trial.user_attrs[OUTCOME]
        row = {"trial": number, "point": trial.user_attrs.get(POINT, ""), "state": trial.state.name.lower()}
        row |= {name: options[name] for name in names} | {name: outcome[key] for name, key in MEASURES.items()}
        row |= {"train_tmacs": outcome["train_tmacs"], "own_tmacs": round(outcome["own_tmacs"], 6)}
        rows.append(row | {"epochs": len(outcome["history"])})
    values = [*names, *MEASURES, "train_tmacs", "own_tmacs", "epochs"]
    table = pd.DataFrame(rows, columns=["trial", "point", "state", *values])
    limit = float("inf") if plan.cost_limit is None else plan.cost_limit
    table["feasible"] = (table.state == "complete") & (table.train_tmacs <= limit)
    own = matching(table, feasible=True)
    table["front"] = table.index.isin(own.index[front(own.train_tmacs.tolist(), own.val_top1.tolist())])
    table["best"] = table.index == _best(plan, table)
    return table


def _best(plan: Plan, table: pd.DataFrame) -> int | None:
    """The most accurate trial, the cheaper of equals, within the limit of cost.

    Where cost is an objective and there is no limit, base's own cost is the limit.
    """
    own = matching(table, feasible=True)
    base = matching(own, point="base")
    if "cost" in plan.config.objectives and plan.cost_limit is None and len(base):
        own = rows_where(own, own.train_tmacs <= base.train_tmacs.iloc[0])
    order = own.sort_values(["val_top1", "train_tmacs", "trial"], ascending=[False, True, True])
    return int(order.index[0]) if len(order) else None


def outcomes_table(trials: list[FrozenTrial], key: str, *names: str) -> pd.DataFrame:
    """One row a trial and record that its outcome has under `key`; without any, a table with columns `names`."""
    rows = [
        {"trial": number, **record} for number, trial in enumerate(trials) for record in trial.user_attrs[OUTCOME][key]
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial", *names])


def curves_table(trials: list[FrozenTrial]) -> pd.DataFrame:
    """One row a trial and epoch that it trained itself."""
    return outcomes_table(trials, "history", "epoch").drop(columns="phases", errors="ignore")


def importances(table: pd.DataFrame, config: TuningConfig) -> pd.DataFrame:
    """Share of the variance of accuracy and of cost that each searched option explains by itself (fANOVA).

    What several explain together is in no share, so they sum to less than one. Measures have the digits that
    `trials.csv` has: with others fANOVA's trees would split otherwise, and a published study have other shares.

    Of all complete trials but those that differ in what is not searched, such as `distill`: what that does would be
    laid to the options. `trials` is their number. Empty for too few.
    """
    complete = matching(table, state="complete")
    for name in set(option_names(config)) - {*SEARCHED}:
        # One by one: pandas would take a list, as of kernels, for a whole column.
        kept = np.array([as_option(value) == config.base[name] for value in column(complete, name)], dtype=bool)
        complete = rows_where(complete, kept)
    complete = _without_ramps_that_are_none(complete)
    names = [name for name in SEARCHED if column(complete, name).nunique() > 1]
    if len(complete) < ENOUGH or not names:
        return pd.DataFrame(columns=["option", "accuracy", "cost", "trials"])
    distributions = {name: _distribution(column(complete, name)) for name in names}
    shares: dict[str, Mapping[str, float]] = {}
    for target, measure in (("accuracy", "val_top1"), ("cost", "train_tmacs")):
        if column(complete, measure).nunique() == 1:
            shares[target] = dict.fromkeys(names, 0.0)
            continue
        study = optuna.create_study(direction="maximize")
        for row in records(complete):
            params = {name: row[name] for name in names}
            value = float(f"{row[measure]:.6g}")
            study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fanova = FanovaImportanceEvaluator(seed=0)
            shares[target] = get_param_importances(study, evaluator=fanova, normalize=False)
    rows = [{"option": name, **{key: share[name] for key, share in shares.items()}} for name in names]
    return pd.DataFrame(rows).assign(trials=len(complete))


def _without_ramps_that_are_none(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials, with the length of a ramp that stays constant, and the ε of one that has no length, in the middle.

    That is of the others' range. In the table a length that is not drawn is as base has it. If few others have it, it
    would tell the shape, and fANOVA lay to the one what is the other's. A range's end tells it more than the middle.
    """
    constant = column(trials, "ramp_shape") == "constant"
    lengths, starts = column(trials, "ramp_epochs"), column(trials, "epsilon")
    climbs = ~constant & (lengths > 0)
    return trials.assign(
        ramp_epochs=lengths.where(~constant, _middle(lengths[~constant])),
        epsilon=starts.where(constant | climbs, _middle(starts[constant | climbs])),
    )


def _middle(values: pd.Series) -> float:
    """Middle of their range; 0 of none."""
    return float(values.min() + values.max()) / 2 if len(values) else 0.0


def _distribution(values: pd.Series) -> BaseDistribution:
    if values.name in ("shrink_start", "ramp_shape"):
        return CategoricalDistribution(sorted(values.unique()))
    return FloatDistribution(float(values.min()), float(values.max()))


def best_yaml(config: TuningConfig, experiment: str, table: pd.DataFrame, summary: dict[str, Any]) -> str:
    """Overrides that give the method the best trial's options, and keep the study as it is."""
    if not table.best.any():
        return "# no trial counts\n{}\n"
    (best,) = records(matching(table, best=True))
    # All of base, which may differ from the preset; and the study stays what it was, though its base is the method that
    # changes.
    method = {name: best.get(name, value) for name, value in config.base.items() if name != "method"}
    own = {"methods": {"deps": method}, "tuning": {"base": deepcopy(config.base)}}  # a copy, or YAML gets aliases
    head = f"# Trial {best['trial']}: {best['val_top1']:.2f} % mean Pareto accuracy on validation, "
    head += f"{best['train_tmacs']:.3f} TMACs of training.\n"
    head += f"# {text[0].upper()}{text[1:]}.\n" if (text := verdict(summary)) else ""
    head += f"# deps params experiment=[{experiment}] experiments.{experiment}.tuning.trials={config.trials} "
    head += f"+from=runs/{experiment}/tune/best.yaml && dvc repro\n"
    return head + yaml.safe_dump({"experiments": {experiment: own}}, sort_keys=False)


def summarise(
    config: TuningConfig, table: pd.DataFrame, full_model_tmacs: float, confirmation: pd.DataFrame, diverged: int
) -> dict[str, Any]:
    """Best against default, on the seed that chose and on others, and what branching saved.

    `diverged` is the number of drawn trials that did: they have no row, and their costs are in none of the sums.
    """
    summary: dict[str, Any] = {"tune/trials": len(table)}
    if not len(table):
        return summary
    sides = {"best": matching(table, best=True), "default": matching(table, point="base")}
    for name, rows in sides.items():
        for row in records(matching(rows, state="complete")):
            summary[f"tune/{name}_val_top1"] = row["val_top1"]
            summary[f"tune/{name}_smallest_val_top1"] = row["val_smallest_top1"]
            summary[f"tune/{name}_train_tmacs"] = row["train_tmacs"]
    if {"tune/best_val_top1", "tune/default_val_top1"} <= set(summary):
        gain = summary["tune/best_val_top1"] - summary["tune/default_val_top1"]
        best, default = (columns(own, *option_names(config)).iloc[0] for own in sides.values())
        summary["tune/best_is_default"] = int(best.equals(default))
        summary["tune/gain_points_on_its_own_seed"] = round(gain, 4)
        summary["tune/confirmed_seeds"] = len(confirmation)
        summary["tune/confirm_tmacs"] = round(float(confirmation.own_tmacs.sum()), 6)
        if len(confirmation):
            found = paired_gain(confirmation.best_val_top1, confirmation.default_val_top1)
            names = ("gain_points", "gain_points_low", "gain_points_high")
            summary |= {f"tune/{name}": value for name, value in zip(names, found, strict=True) if value is not None}
    own, scratch = table.own_tmacs.sum(), table.train_tmacs.sum()
    return summary | {
        "tune/pruned": int((table.state == "pruned").sum()),
        "tune/diverged": diverged,
        "tune/front_size": int(table.front.sum()),
        "tune/trained_tmacs": round(own, 6),
        "tune/from_scratch_tmacs": round(scratch, 6),
        "tune/saved_percent": round(100 * (1 - own / scratch), 2),
        "tune/trunk_tmacs": round(full_model_tmacs, 6),
    }
