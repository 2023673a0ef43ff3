"""The numbers of an experiment's tables, one row a number and seed, and how far seeds move them.

`numbers.csv` beside the figures holds them, in git: the next machine's are compared with it (`deps verify`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dεps.core.files import write_json
from dεps.core.tables import columns, matching, records, rows_where
from dεps.report.results import LARGEST, Results, training_cost
from dεps.report.statistics import Sample, Spread, moderated
from dεps.workspace.identity import FULL_MODEL
from dεps.workspace.outputs import SHOWN, TRAIN_COST
from dεps.workspace.tables import read_table

NUMBERS = "numbers.csv"
#: what DVC shows of an experiment: of each method the means over seeds of these
METRICS, SUMMARY = "metrics.json", ("pareto/mean_top1", "pareto/smallest_top1", TRAIN_COST.key)
#: in the place of a method: any that has no spread of its own
OTHERS = ""
#: what is trained alone, and what is no network, in the place of a method
LOGISTIC = "logistic_regression"
#: seed of what has none
NONE = -1


def numbers(results: Results) -> pd.DataFrame:
    """Rows (of, seed, metric, value): methods, the full model and archs alone, logistic regression.

    `of` is a method's name or `<arch>_alone`. Accuracies are in percent, costs in 10¹² MACs.
    """
    found: list[dict[str, Any]] = []

    def add(of: str, seed: int, metric: str, value: float) -> None:
        found.append({"of": of, "seed": seed, "metric": metric, "value": value})

    found += records(of_methods(results))
    for seed, cost in training_cost(matching(results.history, method=FULL_MODEL)).items():
        add(FULL_MODEL, int(str(seed)), LARGEST, results.full_model_top1(int(str(seed))))
        add(FULL_MODEL, int(str(seed)), TRAIN_COST.key, cost)
    for row in records(rows_where(results.standalone, results.standalone.seed.isin(results.seeds))):
        size = "largest" if row["name"] == "largest" else "smallest"
        add(f"{row['name']}_alone", row["seed"], f"pareto/{size}_top1", row["test_top1"])
        add(f"{row['name']}_alone", row["seed"], TRAIN_COST.key, row["train_tmacs"])
    add(LOGISTIC, NONE, LARGEST, results.reference["reference/logistic_regression_top1"])
    return pd.DataFrame(found)


def of_methods(results: Results) -> pd.DataFrame:
    """The rows of `numbers` that are methods', which published experiments have too."""
    own = columns(results.metrics, "method", "seed", *(metric.key for metric in SHOWN)).rename(columns={"method": "of"})
    return own.melt(["of", "seed"], var_name="metric")


def spreads(table: pd.DataFrame) -> dict[tuple[str, str], Spread]:
    """Spread over seeds by metric and `of`, each moderated by that of others; `of` is `OTHERS` for those without any.

    What has one seed says nothing; a metric of which none has several is left out.
    """
    found: dict[tuple[str, str], Spread] = {}
    for metric, own in table.groupby("metric"):
        samples = {str(of): Sample.of(list(values.value)) for of, values in own.groupby("of")}
        several = {of: Spread(one.std, one.count - 1) for of, one in samples.items() if one.std is not None}
        if several:
            drawn, common = moderated(list(several.values()))
            found |= {(str(metric), of): one for of, one in zip([*several, OTHERS], [*drawn, common], strict=True)}
    return found


def write_numbers(results: Results, folder: Path) -> None:
    """Write `numbers.csv` and `metrics.json` into the folder of the experiment's figures."""
    table = numbers(results)
    table.to_csv(folder / NUMBERS, index=False)
    means = {
        method: {
            key.rpartition("/")[2]: round(float(matching(table, of=method, metric=key).value.mean()), 4)
            for key in SUMMARY
        }
        for method in results.methods
    }
    write_json(folder / METRICS, means)


def read_recorded(path: Path) -> pd.DataFrame:
    """What `write_numbers` has written. Raises `UserError` naming the file where it is damaged."""
    return read_table(path, ("seed", "value"), ("of", "metric"))
