"""All undocumented parts of MLflow that this project relies on; the module's test says what an upgrade must keep."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

#: tags: the note that the UI shows, what made a run, its parent run, what its data is for
NOTE_TAG, SOURCE_TAG, PARENT_TAG = "mlflow.note.content", "mlflow.source.name", "mlflow.parentRunId"
DATA_TAG = "mlflow.data.context"
#: the UI has two sides, and opens the one for language models unless an experiment's tag, or a link, says otherwise
SIDE_TAG, SIDE = "mlflow.experimentKind", "custom_model_development"
_PAGE = {"workflowType": "machine_learning"}
#: table and column of each address in a database
ADDRESSES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
ADDRESSES += (("model_versions", "source"), ("model_versions", "storage_location"), ("trace_tags", "value"))


_LINE: dict[str, Any] = {"lineSmoothness": 0, "xAxisScaleType": "linear", "scaleType": "linear", "range": {}}
_LINE |= {"yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False}
_LINE |= {"useGlobalXaxisKey": False, "useGlobalLineSmoothing": True}


@dataclass(frozen=True)
class Chart:
    """A chart of a saved view; the UI names it after its metrics."""

    #: "SCATTER", "BAR" or "LINE"
    kind: str
    section: str
    #: on the vertical axis
    metrics: tuple[str, ...]
    #: metric on the horizontal axis; epochs if empty
    over: str = ""

    def state(self) -> dict[str, Any]:
        """Return the chart in the UI's form."""
        name = "scatter" if self.kind == "SCATTER" else self.metrics[0]
        state = {"uuid": f"deps-{self.section}-{name}", "type": self.kind, "metricSectionId": f"deps-{self.section}"}
        state |= {"runsCountToCompare": 20, "deleted": False, "isGenerated": False}
        if self.kind == "SCATTER":
            axes = {"xaxis": {"key": self.over, "type": "METRIC"}, "yaxis": {"key": self.metrics[0], "type": "METRIC"}}
            return state | axes | {"runsCountToCompare": 100}
        if self.kind == "BAR":
            return state | {"metricKey": self.metrics[0]}
        axis = {"xAxisKey": "metric" if self.over else "step", "selectedXAxisMetricKey": self.over}
        return state | _LINE | axis | {"metricKey": self.metrics[0], "selectedMetricKeys": list(self.metrics)}


def view_tag(view: str) -> str:
    """Return the name of an experiment's tag that holds a saved view."""
    return f"mlflow.sharedViewState.{view}"


def saved_view(title: str, rows: str, columns: Mapping[str, int], charts: Sequence[Chart]) -> str:
    """Return a saved view as its tag's value; it is the same text each time.

    `rows` filters the runs that it shows; `columns` are widths in pixels by metric or tag. Rows are sorted by the first
    one, in descending order. The charts give the order of sections too.
    """
    sections = [
        {"uuid": f"deps-{name}", "name": name, "display": True, "isReordered": True}
        for name in dict.fromkeys(chart.section for chart in charts)
    ]
    state: dict[str, Any] = {"searchFilter": rows, "orderByKey": next(iter(columns)), "orderByAsc": False}
    state |= {"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"}
    state |= {"selectedColumns": list(columns), "columnOrder": ["attributes.`Run Name`", *columns]}
    state |= {"columnWidths": dict(columns), "runsHiddenMode": "FIRST_20_RUNS", "hideEmptyCharts": True}
    state |= {"isAccordionReordered": True, "groupBy": None}
    state |= {"globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}}
    state |= {"compareRunSections": sections, "compareRunCharts": [chart.state() for chart in charts]}
    packed = base64.b64encode(zlib.compress(json.dumps(state, ensure_ascii=False).encode(), 9)).decode()
    return json.dumps({"name": title, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def view_link(experiment_id: str, view: str, charts: bool = False) -> str:
    """Return the link to a saved view as a table, or as charts, relative to the UI's address."""
    query = {"viewStateShareKey": view} | ({"compareRunsMode": "CHART"} if charts else {}) | _PAGE
    return f"#/experiments/{experiment_id}/runs?{urlencode(query)}"


def compare_link(experiment_id: str, run_ids: Sequence[str]) -> str:
    """Return the link to the page that compares parameters and metrics of runs."""
    runs, experiments = (quote(json.dumps(ids, separators=(",", ":"))) for ids in (list(run_ids), [experiment_id]))
    return f"#/compare-runs?runs={runs}&experiments={experiments}&{urlencode(_PAGE)}"


def run_link(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Return the link to a run's page, or to one of its artifacts."""
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}{f'/artifacts/{quote(artifact)}' if artifact else ''}?{urlencode(_PAGE)}"


def image_link(run_id: str, artifact: str) -> str:
    """Return the address of an artifact's content, for pictures in notes."""
    return f"get-artifact?{urlencode({'path': artifact, 'run_uuid': run_id})}"
