"""The saved view in which the MLflow UI shows an experiment's methods side by side."""

from __future__ import annotations

from dεps.tracking import private
from dεps.tracking.changes import CHANGED_TAG, EXPERIMENT_TAG
from dεps.tracking.private import Chart
from dεps.workspace.outputs import SHOWN, TRAIN_COST

#: the metrics that rank methods: by the first one the table is sorted
RANKING = tuple(metric for metric in SHOWN if metric.std is None)
SUMMARY = tuple(metric.key for metric in RANKING)
#: tag of a run, and its value for rows of the comparison; others are the full model, single archs, studies and trials
KIND, METHOD_KIND = "kind", "method"
#: name of the saved view, in links to it
VIEW = "deps-methods"
VIEW_TAG = private.view_tag(VIEW)
#: widths of columns in pixels
_METRIC, _TAG = 160, 110
#: accuracy over cost, each summary metric, then curves: accuracies over cost, since methods differ in length and in
#: subnets a step, so that their epochs do not compare
_CHARTS = (
    Chart("SCATTER", "comparison", (SUMMARY[0],), TRAIN_COST.key),
    *(Chart("BAR", "comparison", (metric,)) for metric in SUMMARY),
    Chart("LINE", "validation", ("val/smallest_top1",), TRAIN_COST.key),
    Chart("LINE", "validation", ("val/largest_top1",), TRAIN_COST.key),
    Chart("LINE", "training", ("train/loss_full", "train/loss_subnets")),
    Chart("LINE", "training", ("train/subnet_weight",)),
    Chart("LINE", "training", ("train/learning_rate",)),
)


def view_tag() -> str:
    """Return the saved view as a tag's value; it is the same text each time."""
    columns = {f"metrics.`{metric}`": _METRIC for metric in SUMMARY}
    tags = ("method", "seed", CHANGED_TAG, EXPERIMENT_TAG, "dataset", "space")
    columns |= {f"tags.`{tag}`": _TAG for tag in tags}
    return private.saved_view("Methods", f"tags.{KIND} = '{METHOD_KIND}'", columns, _CHARTS)


def table_link(experiment_id: str) -> str:
    """Return the link to the saved view as a table, relative to the UI's address."""
    return private.view_link(experiment_id, VIEW)


def charts_link(experiment_id: str) -> str:
    """Return the link to the saved view as charts."""
    return private.view_link(experiment_id, VIEW, charts=True)
