"""The saved view in which the MLflow UI shows an experiment's methods side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dεps.tracking import private
from dεps.tracking.changes import CHANGED_TAG, EXPERIMENT_TAG
from dεps.tracking.private import Chart
from dεps.workspace.outputs import SHOWN, TRAIN_COST

#: the metrics that rank methods: by the first one the table is sorted
RANKING = tuple(metric for metric in SHOWN if metric.std is None)
SUMMARY = tuple(metric.key for metric in RANKING)
#: tag of a run, and its values; the comparison shows all but studies and their trials, which are many
KIND, METHOD_KIND, STUDY_KIND, TRIAL_KIND = "kind", "method", "study", "trial"
FINETUNED_KIND = "fine-tuned"
_ROWS = f"tags.{KIND} != '{STUDY_KIND}' AND tags.{KIND} != '{TRIAL_KIND}'"
#: metric with a value for each Pareto point, whose step is the point's MACs in thousands, since steps are whole numbers
POINTS = "pareto/test_top1_by_kmacs"
#: name of the saved view, in links to it
VIEW = "deps-methods"
VIEW_TAG = private.view_tag(VIEW)
#: widths of columns in pixels
_METRIC, _TAG = 160, 110
#: most params in one chart of parallel coordinates
_AXES = 5


def _charts(varying: Sequence[str]) -> Iterator[Chart]:
    """Yield accuracy over MACs and over cost, then curves.

    Of methods over cost, since they differ in length and in subnets a step, so that their epochs do not compare.
    Accuracies are dots and not bars, which begin at 0, so that nobody would see a difference.
    """
    accuracies = tuple(metric.key for metric in RANKING if metric.unit == "%")
    yield Chart("LINE", "comparison", (POINTS,), dots=True)
    for metric in accuracies:
        yield Chart("SCATTER", "comparison", (metric,), TRAIN_COST.key)
    yield Chart("BAR", "comparison", (TRAIN_COST.key,))
    for size in ("smallest", "largest"):
        yield Chart("LINE", "validation", (f"val/{size}_top1",), TRAIN_COST.key)
    yield Chart("PARALLEL", "parameters", (TRAIN_COST.key, *reversed(accuracies)), params=tuple(varying[:_AXES]))
    yield Chart("DIFFERENCE", "parameters")
    for metric in ("loss_full", "loss_subnets", "subnet_weight", "learning_rate"):
        yield Chart("LINE", "training", (f"train/{metric}",))


def view_tag(varying: Sequence[str] = ()) -> str:
    """Return the saved view as a tag's value; it is the same text each time.

    `varying` names the params that all runs of methods have and that differ among them.
    """
    columns = {f"metrics.`{metric}`": _METRIC for metric in SUMMARY}
    tags = ("method", "seed", CHANGED_TAG, EXPERIMENT_TAG, "dataset", "space")
    columns |= {f"tags.`{tag}`": _TAG for tag in tags}
    return private.saved_view("Methods", _ROWS, columns, list(_charts(varying)))


def table_link(experiment_id: str) -> str:
    """Return the link to the saved view as a table, relative to the UI's address."""
    return private.view_link(experiment_id, VIEW)


def charts_link(experiment_id: str) -> str:
    """Return the link to the saved view as charts."""
    return private.view_link(experiment_id, VIEW, charts=True)
