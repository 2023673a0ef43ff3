import base64
import json
import zlib

from dεps.tracking.private import image_link, run_link
from dεps.tracking.views import POINTS, SUMMARY, charts_link, table_link, view_tag

VARYING = ("method.method", "method.shrink_start")


def state():
    tag = json.loads(view_tag(VARYING))
    assert tag["name"] == "Methods"
    return json.loads(zlib.decompress(base64.b64decode(tag["state"].removeprefix("deflate;"))))


def test_the_saved_view_has_the_four_summary_columns_first():
    view = state()
    assert view["selectedColumns"][:4] == [f"metrics.`{name}`" for name in SUMMARY]
    assert view["columnOrder"][1:] == view["selectedColumns"]
    assert view["orderByKey"] == "metrics.`pareto/mean_top1`"
    assert view["searchFilter"] == "tags.kind != 'study' AND tags.kind != 'trial'"
    assert view["runsHiddenMode"] == "SHOW_ALL"


def test_every_chart_is_in_a_section_and_has_a_name_of_its_own():
    view = state()
    sections, charts = view["compareRunSections"], view["compareRunCharts"]
    columns = {"comparison": 2, "validation": 2, "parameters": 1, "training": 2}
    assert {section["name"]: section["columns"] for section in sections} == columns
    assert {chart["metricSectionId"] for chart in charts} == {section["uuid"] for section in sections}
    assert len({chart["uuid"] for chart in charts}) == len(charts) == 13


def test_the_charts_show_accuracy_over_macs_and_over_cost():
    charts = state()["compareRunCharts"]
    first, *scatters, cost = [chart for chart in charts if chart["metricSectionId"] == "deps-comparison"]
    assert (first["type"], first["metricKey"], first["xAxisKey"]) == ("LINE", POINTS, "step")
    assert {(one["type"], one["yaxis"]["key"], one["xaxis"]["key"]) for one in scatters} == {
        ("SCATTER", f"pareto/{what}_top1", "cost/train_tmacs") for what in ("mean", "smallest", "largest")
    }
    assert (cost["type"], cost["metricKey"]) == ("BAR", "cost/train_tmacs")
    axes, differences = [chart for chart in charts if chart["metricSectionId"] == "deps-parameters"]
    assert (axes["type"], axes["selectedParams"]) == ("PARALLEL", list(VARYING))
    assert set(axes["selectedMetrics"]) == set(SUMMARY)
    curves = [chart for chart in charts if chart["metricSectionId"] == "deps-validation"]
    assert {chart["selectedXAxisMetricKey"] for chart in curves} == {"cost/train_tmacs"}
    assert (differences["type"], differences["compareGroups"]) == ("DIFFERENCE", ["Parameters"])
    assert differences["showDifferencesOnly"]


def test_the_view_is_the_same_text_each_time_and_fits_a_tag():
    longest = [f"method.{'x' * 60}_{number}" for number in range(100)]
    assert view_tag(longest) == view_tag(longest)
    assert len(view_tag(longest)) < 5000  # MLflow refuses longer ones


def test_links():
    assert table_link("7") == "#/experiments/7/runs?viewStateShareKey=deps-methods&workflowType=machine_learning"
    assert "&compareRunsMode=CHART&" in charts_link("7")
    assert run_link("7", "a") == "#/experiments/7/runs/a?workflowType=machine_learning"
    assert run_link("7", "a", "figures/ε.png").startswith("#/experiments/7/runs/a/artifacts/figures/%CE%B5.png?")
    assert image_link("a", "figures/x.png") == "get-artifact?path=figures%2Fx.png&run_uuid=a"
