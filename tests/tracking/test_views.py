import base64
import json
import zlib
from urllib.parse import parse_qs

from dεps.tracking.private import compare_link, image_link, run_link
from dεps.tracking.views import SUMMARY, charts_link, table_link, view_tag


def state():
    tag = json.loads(view_tag())
    assert tag["name"] == "Methods"
    return json.loads(zlib.decompress(base64.b64decode(tag["state"].removeprefix("deflate;"))))


def test_the_saved_view_has_the_four_summary_columns_first():
    view = state()
    assert view["selectedColumns"][:4] == [f"metrics.`{name}`" for name in SUMMARY]
    assert view["columnOrder"][1:] == view["selectedColumns"]
    assert view["orderByKey"] == "metrics.`pareto/mean_top1`"
    assert view["searchFilter"] == "tags.kind = 'method'"


def test_every_chart_is_in_a_section_and_has_a_name_of_its_own():
    view = state()
    sections, charts = view["compareRunSections"], view["compareRunCharts"]
    assert [section["name"] for section in sections] == ["comparison", "validation", "training"]
    assert {chart["metricSectionId"] for chart in charts} == {section["uuid"] for section in sections}
    assert len({chart["uuid"] for chart in charts}) == len(charts) == 10
    assert {chart["metricKey"] for chart in charts if chart["type"] == "BAR"} == set(SUMMARY)
    axes = {chart["selectedXAxisMetricKey"] for chart in charts if chart["metricSectionId"] == "deps-validation"}
    assert axes == {"cost/train_tmacs"}


def test_the_view_is_the_same_text_each_time_and_fits_a_tag():
    assert view_tag() == view_tag()
    assert len(view_tag()) < 5000  # MLflow refuses longer ones


def test_links():
    assert table_link("7") == "#/experiments/7/runs?viewStateShareKey=deps-methods&workflowType=machine_learning"
    assert "&compareRunsMode=CHART&" in charts_link("7")
    query = parse_qs(compare_link("7", ["a", "b"]).partition("?")[2])
    assert (json.loads(query["runs"][0]), json.loads(query["experiments"][0])) == (["a", "b"], ["7"])
    assert run_link("7", "a") == "#/experiments/7/runs/a?workflowType=machine_learning"
    assert run_link("7", "a", "figures/ε.png").startswith("#/experiments/7/runs/a/artifacts/figures/%CE%B5.png?")
    assert image_link("a", "figures/x.png") == "get-artifact?path=figures%2Fx.png&run_uuid=a"
