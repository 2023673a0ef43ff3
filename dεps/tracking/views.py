"""What the MLflow UI shows of an experiment: a saved view that sets its methods side by side, and links.

MLflow keeps a saved view as a tag of the experiment: filter, order, columns and charts as its UI holds them, packed.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from dεps.tracking.changes import CHANGED_TAG, EXPERIMENT_TAG
from dεps.workspace.outputs import SHOWN, TRAIN_COST

#: the metrics that rank methods: by the first one the table is sorted
RANKING = tuple(metric for metric in SHOWN if metric.std is None)
SUMMARY = tuple(metric.key for metric in RANKING)
#: of a run that is a row of the comparison; others are the full model, archs alone, studies and their trials
KIND, METHOD_KIND = "kind", "method"
#: of the saved view, in links to it
VIEW = "deps-methods"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
#: of columns, in pixels, by what they show
_WIDTHS = {"metrics": 160}
#: curves by section; each is a chart of so many metrics
_CURVES = {
    "validation": [["val/smallest_top1"], ["val/largest_top1"]],
    "training": [["train/loss_full", "train/loss_subnets"], ["train/subnet_weight"], ["train/learning_rate"]],
}
#: methods differ in length and in subnets a step, so that their epochs do not compare
_OVER_COST = {"xAxisKey": "metric", "selectedXAxisMetricKey": TRAIN_COST.key}
_OVER_EPOCHS = {"xAxisKey": "step", "selectedXAxisMetricKey": ""}


def view_tag() -> str:
    """The saved view as a tag's value; it is the same text each time."""
    packed = base64.b64encode(zlib.compress(json.dumps(_state(), ensure_ascii=False).encode(), 9)).decode()
    return json.dumps({"name": "Methods", "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def _state() -> dict[str, Any]:
    columns = [f"metrics.`{metric}`" for metric in SUMMARY]
    columns += [f"tags.`{tag}`" for tag in ("method", "seed", CHANGED_TAG, EXPERIMENT_TAG, "dataset", "space")]
    sections = ["comparison", *_CURVES]
    return {
        "searchFilter": f"tags.{KIND} = '{METHOD_KIND}'",
        "orderByKey": columns[0],
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": {column: _WIDTHS.get(column.partition(".")[0], 110) for column in columns},
        "runsHiddenMode": "FIRST_20_RUNS",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "groupBy": None,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "compareRunSections": [
            {"uuid": f"deps-{name}", "name": name, "display": True, "isReordered": True} for name in sections
        ],
        "compareRunCharts": _charts(),
    }


def _charts() -> list[dict[str, Any]]:
    """Accuracy over cost, a bar chart of each summary metric, then the curves. MLflow names them by their metrics."""
    axes = {"xaxis": {"key": TRAIN_COST.key, "type": "METRIC"}, "yaxis": {"key": SUMMARY[0], "type": "METRIC"}}
    charts = [_chart("SCATTER", "comparison", "scatter") | axes | {"runsCountToCompare": 100}]
    charts += [_chart("BAR", "comparison", metric) | {"metricKey": metric} for metric in SUMMARY]
    for section, curves in _CURVES.items():
        axis = _OVER_COST if section == "validation" else _OVER_EPOCHS
        for metrics in curves:
            keys = {"metricKey": metrics[0], "selectedMetricKeys": metrics}
            charts.append(_chart("LINE", section, metrics[0]) | _LINE | axis | keys)
    return charts


_LINE = {
    "lineSmoothness": 0,
    "xAxisScaleType": "linear",
    "scaleType": "linear",
    "range": {},
    "yAxisKey": "metric",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "useGlobalXaxisKey": False,
    "useGlobalLineSmoothing": True,
}


def _chart(kind: str, section: str, name: str) -> dict[str, Any]:
    own = {"uuid": f"deps-{section}-{name}", "type": kind, "metricSectionId": f"deps-{section}"}
    return own | {"runsCountToCompare": 20, "deleted": False, "isGenerated": False}


#: the UI has two sides, and opens the one about language models unless told
_PAGE = {"workflowType": "machine_learning"}


def table_link(experiment_id: str) -> str:
    """The saved view as a table, below the UI's address."""
    return _runs_link(experiment_id)


def charts_link(experiment_id: str) -> str:
    """The saved view as charts."""
    return _runs_link(experiment_id, compareRunsMode="CHART")


def _runs_link(experiment_id: str, **options: str) -> str:
    query = {"viewStateShareKey": VIEW, **options, **_PAGE}
    return f"#/experiments/{experiment_id}/runs?{urlencode(query)}"


def compare_link(experiment_id: str, run_ids: Sequence[str]) -> str:
    """MLflow's page that sets parameters and metrics of runs side by side."""
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (list(run_ids), [experiment_id]))
    return f"#/compare-runs?runs={runs}&experiments={experiments}&{urlencode(_PAGE)}"


def run_link(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """A run's page, or one of its artifacts."""
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}{f'/artifacts/{quote(artifact)}' if artifact else ''}?{urlencode(_PAGE)}"


def image_link(run_id: str, artifact: str) -> str:
    """Where the UI gets an artifact's content, for pictures in notes."""
    return f"get-artifact?{urlencode({'path': artifact, 'run_uuid': run_id})}"
