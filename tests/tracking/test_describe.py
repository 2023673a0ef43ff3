from pathlib import Path

from dεps.core.files import write_json
from dεps.tracking.store import Store
from dεps.tracking.sync import sync
from dεps.tracking.views import VIEW_TAG

NOTE = "mlflow.note.content"


def run(store, name):
    found = store.client.search_runs([store.experiment_id("quick")], f"attributes.run_name = '{name}'")
    return found[0]


def experiment(store):
    return store.client.get_experiment_by_name("quick")


def test_runs_and_experiments_are_described(workspace, tmp_path):
    store = Store()
    assert sync(workspace, store) == (3, 3)
    deps = run(store, "deps-0")
    assert deps.data.tags["kind"] == "method"
    assert run(store, "full_model-0").data.tags["kind"] == "full model"
    text = deps.data.tags[NOTE]
    assert f"run_uuid={deps.info.run_id})" in text
    assert "| 72.00 | 73.00 | 74.00 | 6.000 |" in text
    (params,) = store.client.list_artifacts(deps.info.run_id, "params")
    assert params.path == "params/deps-0.yaml"
    tags = experiment(store).tags
    assert "made-up results" in tags[NOTE]
    assert (tags["dataset"], tags["space"]) == ("m", "mbv3_micro")
    assert tags[VIEW_TAG].startswith('{"name": "Methods"')


def test_all_methods_have_the_four_summary_columns(workspace):
    store = Store()
    sync(workspace, store)
    rows = store.client.search_runs([store.experiment_id("quick")], "tags.kind = 'method'")
    names = ("pareto/mean_top1", "pareto/smallest_top1", "pareto/largest_top1", "cost/train_tmacs")
    table = {row.data.tags["method"]: [row.data.metrics[name] for name in names] for row in rows}
    assert table == {"deps": [72.0, 73.0, 74.0, 6.0], "rss": [73.0, 74.0, 75.0, 9.0]}


def test_a_note_is_written_again_only_when_it_would_be_another_one(workspace):
    store = Store()
    sync(workspace, store)
    deps = run(store, "deps-0")
    store.client.set_tag(deps.info.run_id, NOTE, "my own words")
    store.client.set_experiment_tag(deps.info.experiment_id, NOTE, "mine too")
    assert sync(workspace, store) == (3, 0)
    assert run(store, "deps-0").data.tags[NOTE] == "my own words"
    assert experiment(store).tags[NOTE] == "mine too"
    write_json(Path("runs/quick/predict/deps-0/metrics.json"), {"predictor/kendall_tau": 0.5})
    Path("reports/experiments/quick/results.md").write_text("other results\n")
    assert sync(workspace, store) == (3, 1)
    assert run(store, "deps-0").data.tags[NOTE] == "my own words"
    assert "other results" in experiment(store).tags[NOTE]
    write_json(Path("runs/quick/evaluate/deps-0/metrics.json"), {"pareto/mean_top1": 72.5})
    assert sync(workspace, store) == (3, 1)
    assert "| 72.50 | 6.000 |" in run(store, "deps-0").data.tags[NOTE]


def test_runs_of_an_older_store_are_described_in_place(workspace):
    store = Store()
    sync(workspace, store)
    deps = run(store, "deps-0")
    for key in (NOTE, "kind", "deps.part.note"):
        store.client.delete_tag(deps.info.run_id, key)
    assert sync(workspace, store) == (3, 1)
    again = run(store, "deps-0")
    assert again.info.run_id == deps.info.run_id
    assert again.data.tags[NOTE] == deps.data.tags[NOTE]
