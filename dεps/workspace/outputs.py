"""What stages write, said once: each file, the columns that readers count on, and each metric with its unit.

A new metric of stage `evaluate` is one entry of `EVALUATED`: the stage writes it, MLflow logs it, and with `shown` it
is a column of the results table and of MLflow's comparison of methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from dεps.spaces.pareto import mean_pareto_accuracy
from dεps.workspace.tables import read_table

#: of a training, in its stage's folder
SUPERNET, HISTORY, SUMMARY = "supernet.safetensors", "history.jsonl", "summary.json"
#: of every other stage that has numbers of its own
METRICS = "metrics.json"
PREDICTOR = "predictor.safetensors"
MODELS = "models.json"
#: after a budget's name: its subnet that was trained on, as a file and as an alias in MLflow
FINETUNED = "-finetuned"
#: … and that of quantised models
INT8 = "-int8"
#: what fine-tuning alone has cost, in 10¹² MACs
OWN_COST = "finetune/own_tmacs"
BEST = "best.yaml"


class Table(NamedTuple):
    """A CSV file of a stage: the columns that its readers count on. It may have more."""

    stage: str
    file: str
    #: finite numbers
    numbers: tuple[str, ...]
    texts: tuple[str, ...] = ()
    may_be_empty: bool = False
    #: how numbers with a point are written; None: to the last bit
    format: str | None = None
    #: texts are names that somebody gave, such as 7 or NA
    verbatim: bool = False

    @property
    def name(self) -> str:
        """`<stage>/<file>`, as figures name what they show."""
        return f"{self.stage}/{self.file}"

    def write(self, table: pd.DataFrame, out: Path) -> None:
        """Write the stage's `table` into its folder `out`. Raises `KeyError` where it lacks a column."""
        if missing := [name for name in (*self.numbers, *self.texts) if name not in table]:
            raise KeyError(f"{self.name} has no column '{missing[0]}'")
        table.to_csv(out / self.file, index=False, float_format=self.format)

    def read(self, folder: Path) -> pd.DataFrame:
        """The table in a stage's folder. Raises `UserError` naming the file where it is missing or damaged."""
        return read_table(folder / self.file, self.numbers, self.texts, self.may_be_empty, self.verbatim)


#: of a training: one row an epoch, for `dvc plots`
CURVES = Table("train", "curves.csv", ("epoch",), format="%.6g")
_MEASURED = ("macs", "params", "val_top1", "test_top1")
#: Pareto points (`pareto` is true) and the arch with the least of everything
PARETO = Table("evaluate", "pareto.csv", ("pareto", *_MEASURED), ("name", "arch"))
#: random archs
POPULATION = Table("evaluate", "population.csv", ("bucket", *_MEASURED), ("arch",))
#: each measured arch, predicted by what has not seen it; percent
PREDICTIONS = Table("predict", "predictions.csv", ("macs", "measured", "predicted"), ("arch",), format="%.4f")
#: archs found by search; `measured` in percent, with the `round` that measured it, empty where not measured; not
#: `on_front` are archs of an earlier round; with a latency table also `ms`, predicted milliseconds, and whether the
#: arch is `on_latency_front`
FRONT = Table("search", "front.csv", ("macs", "params", "predicted"), ("arch",))
#: of exported subnets: each class's images by split, and accuracy (percent; empty without images) …
CLASSES = Table(
    "export", "classes.csv", ("train", "validation", "test"), ("budget", "class"), format="%.4f", verbatim=True
)
#: … how often each class was taken for which, on test …
CONFUSION = Table("export", "confusion.csv", ("images",), ("budget", "label", "answer"), verbatim=True)
#: … and validation images that were wrong, or just right, with `PICTURES`, uint8 (images, height, width, channels)
EXAMPLES = Table("export", "examples.csv", ("image", "probability", "right"), ("label", "answer"), verbatim=True)
PICTURES = "examples.safetensors"
#: archs trained alone, one row an arch and seed
_ALONE = ("seed", "macs", "params", "test_top1")
STANDALONE = Table("reference", "standalone.csv", _ALONE, ("standalone", "name", "arch"), format="%.4f")
#: of the study: its trials …
_TRIAL = ("trial", "train_tmacs", "own_tmacs", "feasible", "front", "best")
TRIALS = Table("tune", "trials.csv", _TRIAL, ("state",), True, "%.6g")
#: … their Pareto points …
TRIAL_POINTS = Table("tune", "points.csv", ("trial", "macs", "val_top1"), ("name",), may_be_empty=True)
#: … their records, one an epoch that each trained itself …
TRIAL_CURVES = Table("tune", "curves.csv", ("trial", "epoch"), may_be_empty=True, format="%.6g")
#: … how much of the variance each option explains …
IMPORTANCE = Table("tune", "importance.csv", ("accuracy", "cost"), ("option",), True, "%.4f")
#: … and the default and the best trial on seeds that did not choose
_SIDES = tuple(f"{side}_val_{size}top1" for side in ("default", "best") for size in ("", "smallest_", "largest_"))
CONFIRMATION = Table("tune", "confirmation.csv", ("seed", *_SIDES), may_be_empty=True)
STUDY = (TRIALS, TRIAL_POINTS, TRIAL_CURVES, IMPORTANCE, CONFIRMATION)


@dataclass(frozen=True)
class Metric:
    """A number of a run: its key in files and in MLflow, and how people read it."""

    key: str
    title: str
    #: from the Pareto points and the population that stage `evaluate` has measured; None: another stage writes it
    of: Callable[[pd.DataFrame, pd.DataFrame], float] | None = None
    unit: Literal["%", "MACs", "TMACs", "τ"] = "%"
    decimals: int = 2
    better: Literal["higher", "lower"] = "higher"
    #: a column of the results table and of MLflow's comparison, in the order here
    shown: bool = False
    #: its sample standard deviation over folds is another metric of that key
    std: str | None = None
    #: column of the Pareto points without which there is no such metric: top-5 needs more than five classes
    needs: str = "test_top1"

    @property
    def heading(self) -> str:
        """Of a table's column."""
        return f"{self.title} {self.unit}" if self.unit == "τ" else f"{self.title} ({self.unit})"


def _mean_top1(split: str) -> Callable[[pd.DataFrame, pd.DataFrame], float]:
    return lambda points, _: mean_pareto_accuracy(points.macs.tolist(), points[f"{split}_top1"].tolist())


EVALUATED = (
    Metric("pareto/mean_top1", "mean Pareto top-1", _mean_top1("test"), shown=True),
    Metric("pareto/mean_val_top1", "mean Pareto top-1, validation", _mean_top1("val")),
    Metric("pareto/smallest_top1", "smallest", lambda points, _: points.test_top1.iloc[0], shown=True),
    Metric("pareto/largest_top1", "largest", lambda points, _: points.test_top1.iloc[-1], shown=True),
    Metric("pareto/smallest_macs", "smallest", lambda points, _: points.macs.iloc[0], "MACs", 0, "lower"),
    Metric("pareto/largest_macs", "largest", lambda points, _: points.macs.iloc[-1], "MACs", 0, "lower"),
    Metric("pareto/smallest_top5", "smallest, top-5", lambda points, _: points.test_top5.iloc[0], needs="test_top5"),
    Metric("pareto/largest_top5", "largest, top-5", lambda points, _: points.test_top5.iloc[-1], needs="test_top5"),
    Metric("pareto/ema_mean_top1", "mean Pareto top-1, EMA", _mean_top1("ema_test"), needs="ema_test_top1"),
    Metric(
        "pareto/ema_mean_val_top1", "mean Pareto top-1, EMA, validation", _mean_top1("ema_val"), needs="ema_val_top1"
    ),
    Metric("population/median_top1", "median of the population", lambda _, archs: archs.test_top1.median()),
)
TRAIN_COST = Metric("cost/train_tmacs", "training", None, "TMACs", 3, "lower", shown=True)
TAU = Metric("predictor/kendall_tau", "predictor", None, "τ", shown=True, std="predictor/kendall_tau_std")
#: columns of the results table, in this order
SHOWN = (*(metric for metric in EVALUATED if metric.shown), TRAIN_COST, TAU)


def evaluated(points: pd.DataFrame, population: pd.DataFrame) -> dict[str, float | int]:
    """The metrics of stage `evaluate` (MACs whole, others to four decimals), from its Pareto points and population."""
    found = {metric: metric.of(points, population) for metric in EVALUATED if metric.of and metric.needs in points}
    return {one.key: int(value) if one.unit == "MACs" else round(float(value), 4) for one, value in found.items()}
