"""All undocumented parts of MLflow that this project relies on; the module's test says what an upgrade must keep."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

#: tags: the note that the UI shows, what made a run, its parent run, what its data is for
NOTE_TAG, SOURCE_TAG, PARENT_TAG = "mlflow.note.content", "mlflow.source.name", "mlflow.parentRunId"
DATA_TAG = "mlflow.data.context"
#: the UI has two sides, and opens the one for language models unless an experiment's tag, or a link, says otherwise
SIDE_TAG, SIDE = "mlflow.experimentKind", "custom_model_development"
_PAGE = {"workflowType": "machine_learning"}
#: a run's colour in charts, "#RRGGBB"
COLOUR_TAG = "mlflow.runColor"
#: title of the table of params in which runs differ
DIFFERENCES = "parameters that differ"
#: link to the list of experiments
EXPERIMENTS = f"#/experiments?{urlencode(_PAGE)}"
#: table and column of each address in a database
ADDRESSES = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
ADDRESSES += (("model_versions", "source"), ("model_versions", "storage_location"), ("trace_tags", "value"))


#: what the browser keeps so that MLflow's pages begin without its assistant (a quarter of the page), the note about
#: telemetry, which is off, and the side for language models
GREETINGS = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.workflowType_v1": json.dumps(_PAGE["workflowType"]),
}


def monitors() -> list[Any]:
    """Return MLflow's monitors of processor, memory, disk and network, and of GPUs where nvidia-ml-py is installed.

    Each has `collect_metrics()`, `aggregate_metrics()`, means by name since the last `clear_metrics()`.
    """
    found = []
    try:
        from mlflow.system_metrics.metrics import cpu_monitor, disk_monitor, gpu_monitor, network_monitor
    except ImportError:  # psutil
        return found
    kinds = (cpu_monitor.CPUMonitor, disk_monitor.DiskMonitor, network_monitor.NetworkMonitor, gpu_monitor.GPUMonitor)
    for kind in kinds:
        with suppress(ImportError, RuntimeError, OSError):  # no NVML, no GPU, or nothing to read in this container
            found.append(kind())
    return found


def run_ui(factory: str) -> None:
    """Do what `mlflow ui` does with this process's arguments, but serve the application that `factory` returns."""
    import sys

    from mlflow import cli, server

    command = server._build_uvicorn_command

    def own(options: str, host: str, port: int, workers: int, app: str, env_file: str | None, *rest: Any) -> list[str]:
        return command(options, host, port, workers, factory, env_file, True)

    server._build_uvicorn_command = own
    cli.cli(["ui", *sys.argv[1:]])


_LINE: dict[str, Any] = {"lineSmoothness": 0, "xAxisScaleType": "linear", "scaleType": "linear", "range": {}}
_LINE |= {"yAxisKey": "metric", "yAxisExpressions": [], "ignoreOutliers": False}
_LINE |= {"useGlobalXaxisKey": False, "useGlobalLineSmoothing": True}


@dataclass(frozen=True)
class Chart:
    """A chart of a saved view; the UI names it after its metrics."""

    #: "SCATTER", "BAR", "LINE", "PARALLEL" (an axis for each metric) or "DIFFERENCE" (a table of params that vary)
    kind: str
    section: str
    #: on the vertical axis
    metrics: tuple[str, ...] = ()
    #: metric on the horizontal axis; steps if empty
    over: str = ""
    #: of PARALLEL, which leaves out runs that lack one
    params: tuple[str, ...] = ()
    #: a LINE's points are marked
    dots: bool = False

    def state(self) -> dict[str, Any]:
        """Return the chart in the UI's form."""
        first = next(iter(self.metrics), "")
        name = f"deps-{self.section}-{self.kind.lower()}-{first}"
        state = {"uuid": name, "type": self.kind, "metricSectionId": f"deps-{self.section}"}
        state |= {"runsCountToCompare": 100, "deleted": False, "isGenerated": False}
        if self.kind == "SCATTER":
            axes = {"xaxis": {"key": self.over, "type": "METRIC"}, "yaxis": {"key": first, "type": "METRIC"}}
            return state | axes
        if self.kind == "BAR":
            return state | {"metricKey": first}
        if self.kind == "PARALLEL":
            return state | {"selectedParams": self.params, "selectedMetrics": self.metrics, "showAllRuns": True}
        if self.kind == "DIFFERENCE":
            shown = {"showDifferencesOnly": True, "showChangeFromBaseline": False, "baselineColumnUuid": ""}
            return state | shown | {"compareGroups": ["Parameters"], "chartName": DIFFERENCES}
        axis = {"xAxisKey": "metric" if self.over else "step", "selectedXAxisMetricKey": self.over}
        return (
            state | _LINE | axis | {"metricKey": first, "selectedMetricKeys": self.metrics, "displayPoints": self.dots}
        )


def view_tag(view: str) -> str:
    """Return the name of an experiment's tag that holds a saved view."""
    return f"mlflow.sharedViewState.{view}"


def saved_view(title: str, rows: str, columns: Mapping[str, int], charts: Sequence[Chart]) -> str:
    """Return a saved view as its tag's value; it is the same text each time.

    `rows` filters the runs that it shows; `columns` are widths in pixels by metric or tag. Rows are sorted by the first
    one, in descending order. The charts give the order of sections too, which are two charts wide, so that titles fit;
    what has an axis or a column for many things has a section to itself.
    """
    wide = {chart.section for chart in charts if chart.kind in ("PARALLEL", "DIFFERENCE")}
    sections = [
        {
            "uuid": f"deps-{name}",
            "name": name,
            "display": True,
            "isReordered": True,
            "columns": 1 if name in wide else 2,
        }
        for name in dict.fromkeys(chart.section for chart in charts)
    ]
    state: dict[str, Any] = {"searchFilter": rows, "orderByKey": next(iter(columns)), "orderByAsc": False}
    state |= {"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"}
    state |= {"selectedColumns": list(columns), "columnOrder": ["attributes.`Run Name`", *columns]}
    state |= {"columnWidths": dict(columns), "runsHiddenMode": "SHOW_ALL", "hideEmptyCharts": True}
    state |= {"isAccordionReordered": True, "groupBy": None}
    state |= {"globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}}
    state |= {"compareRunSections": sections, "compareRunCharts": [chart.state() for chart in charts]}
    packed = base64.b64encode(zlib.compress(json.dumps(state, ensure_ascii=False).encode(), 9)).decode()
    return json.dumps({"name": title, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})


def view_link(experiment_id: str, view: str, charts: bool = False) -> str:
    """Return the link to a saved view as a table, or as charts, relative to the UI's address."""
    query = {"viewStateShareKey": view} | ({"compareRunsMode": "CHART"} if charts else {}) | _PAGE
    return f"#/experiments/{experiment_id}/runs?{urlencode(query)}"


def run_link(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Return the link to a run's page, or to one of its artifacts."""
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}{f'/artifacts/{quote(artifact)}' if artifact else ''}?{urlencode(_PAGE)}"


def image_link(run_id: str, artifact: str) -> str:
    """Return the address of an artifact's content, for pictures in notes."""
    return f"get-artifact?{urlencode({'path': artifact, 'run_uuid': run_id})}"
