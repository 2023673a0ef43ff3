"""What the private parts of MLflow must be, whatever version is installed."""

import re
from inspect import getsource, signature
from pathlib import Path

import mlflow
import pytest
from mlflow import environment_variables, server
from mlflow.store.db.base_sql_model import Base
from mlflow.store.model_registry.dbmodels import models as registry
from mlflow.store.tracking.dbmodels import models as tracking
from mlflow.utils import mlflow_tags

from dεps.core import process
from dεps.tracking import private
from dεps.tracking.private import Chart
from tests.conftest import ROOT


def lacks(what: str, missing: list) -> str:
    return f"MLflow {mlflow.__version__} has no {what} {missing}, which dεps/tracking/private.py relies on"


@pytest.fixture(scope="module")
def interface() -> str:
    """All code of MLflow's UI."""
    code = sorted(Path(mlflow.__file__).parent.glob("server/js/build/static/js/**/*.js"))
    return "".join(path.read_text("utf-8", "replace") for path in code)


def words(value: object) -> set[str]:
    """Keys and texts of nested data, but for our own names."""
    if isinstance(value, dict):
        return set(value) | {word for inner in value.values() for word in words(inner)}
    if isinstance(value, list):
        return {word for inner in value for word in words(inner)}
    return {value} if isinstance(value, str) and value else set()


def test_the_interface_knows_what_a_saved_view_is_made_of(interface):
    charts = [Chart("SCATTER", "o", ("o",), "o"), Chart("BAR", "o", ("o",)), Chart("LINE", "o", ("o",), "o")]
    charts += [Chart("LINE", "o", ("o", "o")), Chart("PARALLEL", "o", ("o",), params=("o",)), Chart("DIFFERENCE", "o")]
    used = {word for chart in charts for word in words(chart.state())}
    used = {word for word in used if word not in ("o", private.DIFFERENCES) and not word.startswith("deps-")}
    assert {"SCATTER", "xaxis", "METRIC", "metricKey", "step", "selectedXAxisMetricKey"} <= used
    source = Path(private.__file__).read_text("utf-8")
    state = source[source.index("    sections = [\n") : source.index("    packed = ")]
    used |= set(re.findall(r'"(\w+)":', state)) | {"ALL", "Active", "All Runs", "Run Name", "SHOW_ALL"}
    assert {"selectedColumns", "compareRunCharts", "isReordered"} <= used
    used |= {"createdAt", "updatedAt", "deflate;", private.view_tag("")}
    missing = sorted(word for word in used if word not in interface)
    assert missing == [], lacks("words of a saved view", missing)


def test_the_interface_has_the_pages_that_links_lead_to(interface):
    used = {"viewStateShareKey", "compareRunsMode", "CHART", "workflowType", "machine_learning"}
    used |= {"artifacts", "get-artifact", "run_uuid", private.SIDE_TAG, private.SIDE, private.NOTE_TAG}
    used |= {private.COLOUR_TAG, *(key.removesuffix("_v1") for key in private.GREETINGS)}
    missing = sorted(word for word in used if word not in interface)
    assert missing == [], lacks("page or parameter", missing)


def test_tags_are_those_that_mlflow_reads():
    known = {text for text in vars(mlflow_tags).values() if isinstance(text, str)}
    own = {private.NOTE_TAG, private.SOURCE_TAG, private.PARENT_TAG, private.DATA_TAG}
    assert own <= known, lacks("tag", sorted(own - known))


def test_the_server_is_started_by_the_function_that_is_replaced():
    build = server._build_uvicorn_command
    assert list(signature(build).parameters) == [
        "uvicorn_opts", "host", "port", "workers", "app_name", "env_file", "is_factory",
    ]  # fmt: skip
    assert build(None, "h", 1, 1, "module:app", None, True)[-2:] == ["--factory", "module:app"]
    assert "_build_uvicorn_command(\n" in getsource(server._run_server), lacks("call", ["_build_uvicorn_command"])
    assert "<head>" in Path(str(server.app.static_folder), "index.html").read_text("utf-8"), lacks("page", ["head"])


def test_a_database_has_addresses_where_they_are_mended():
    assert registry.Base is tracking.Base is Base
    columns = {(name, column.name) for name, table in Base.metadata.tables.items() for column in table.columns}
    missing = sorted(set(private.ADDRESSES) - columns)
    assert missing == [], lacks("column", missing)


def test_variables_that_programs_set_are_known():
    own = [*process.ENVIRONMENT, *process.SILENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"]
    missing = [name for name in own if name.startswith("MLFLOW_") and not hasattr(environment_variables, name)]
    assert missing == [], lacks("variable", missing)


def test_nothing_else_says_how_mlflow_is_inside():
    inside = re.compile(r'"mlflow\.(?!db|lock|depsWritten)\w|viewStateShareKey|get-artifact|workflowType|artifact_uri"')
    found = {path.name for path in sorted((ROOT / "dεps").rglob("*.py")) if inside.search(path.read_text("utf-8"))}
    assert found == {"private.py"}
