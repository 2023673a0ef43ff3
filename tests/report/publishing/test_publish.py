"""Seeds published one by one, from several machines, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.data.manifest import read_manifest
from dεps.report.publishing import collect as collecting
from dεps.report.publishing import publish as publishing
from dεps.report.publishing.results import results_of
from dεps.report.publishing.seed import PUBLISHED, read_seed, read_seeds
from dεps.workspace.live import LiveFile, Origin
from dεps.workspace.stage import Context
from tests.tools.published import write_lock, write_project

FOLDER = PUBLISHED / "quick"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def publish(*seeds: int, stale: tuple[str, ...] = (), folder: Path = PUBLISHED):
    params = read_params()
    done = publishing.publish(params, "quick", seeds, lambda names: set(names).intersection(stale), folder)
    return {one.seed: one.what for one in done}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def select(**keys) -> None:
    params = read_params()
    for path, value in keys.items():
        *parts, last = path.split("__")
        own = params
        for part in parts:
            own = own[part]
        own[last] = value
    Path("params.yaml").write_text(yaml.dump(params))


def test_a_seed_is_rows_of_archs_and_trainings(project):
    assert publish(0) == {0: "new"}
    assert sorted(contents(FOLDER)) == [
        f"seed-0/{name}" for name in ("archs.csv", "history.csv", "params.yaml", "provenance.json", "runs.csv")
    ]
    archs = pd.read_csv(FOLDER / "seed-0/archs.csv")
    counts = archs.groupby(["method", "kind"]).size().to_dict()
    each = {"pareto": 6, "least": 1, "population": 4, "front": 3}
    assert counts == {
        ("full_model", "full_model"): 1,
        ("standalone-smallest", "standalone"): 1,
        **{(method, kind): count for method in ("deps", "rss") for kind, count in each.items()},
    }
    assert archs.iloc[0][["arch", "test_top1"]].tolist() == [
        "k5e4-k5e4-k5e4_k5e4-k5e4-k5e4_k5e4-k5e4-k5e4_r28",
        84.0,
    ]
    point = archs[(archs.method == "rss") & (archs.kind == "pareto")].iloc[2]
    assert (point.macs, point.val_top1, point.test_top1) == (3_000_000, 70.0, 75.0)
    measured = pd.read_csv(project / "runs/quick/evaluate/deps-0/population.csv")
    own = read_seed(FOLDER / "seed-0").archs.query("method == 'deps' and kind == 'population'")
    assert own.test_top1.tolist() == measured.test_top1.tolist()
    assert own.bucket.tolist() == [0, 0, 1, 1]
    front = archs[(archs.method == "deps") & (archs.kind == "front")]
    assert front.predicted.tolist() == [70, 71, 72]
    assert front.val_top1.fillna(-1).tolist() == [69, -1, 71]
    runs = pd.read_csv(FOLDER / "seed-0/runs.csv")
    assert runs.method.tolist() == ["full_model", "standalone-smallest", "deps", "rss"]
    assert runs.train_tmacs.tolist() == [0.4, 0.1, 0.4, 0.4]
    assert runs.epochs.tolist() == [4, 4, 4, 4]
    assert runs["pareto/mean_top1"].tolist()[2:] == [80.0, 80.0]
    history = pd.read_csv(FOLDER / "seed-0/history.csv")
    assert len(history) == 16
    assert json.loads(history.phases.dropna().tolist()[-1]) == {"random subnets": 0.0}
    provenance = json.loads((FOLDER / "seed-0/provenance.json").read_text())
    assert set(provenance["code"]) == {
        *("full_model", "standalone", "train/deps", "train/rss", "evaluate", "predict", "search", "reference")
    }
    assert provenance["reference"] == {"reference/logistic_regression_top1": 81.25}
    assert sum(map(len, contents(FOLDER).values())) < 20_000


def test_the_same_again_touches_nothing(project):
    publish()
    before, times = contents(FOLDER), [path.stat().st_mtime_ns for path in sorted(FOLDER.rglob("*"))]
    assert publish() == {0: "same", 1: "same"}
    assert contents(FOLDER) == before
    assert [path.stat().st_mtime_ns for path in sorted(FOLDER.rglob("*"))] == times


def test_seeds_of_several_machines_and_methods_one_by_one_give_the_same_bytes(project, tmp_path):
    publish()
    whole = contents(PUBLISHED)
    select(methods=["rss"], seeds=[1])
    publish(folder=Path("one"))
    select(methods=["deps"])
    assert publish(folder=Path("one")) == {1: "more"}
    select(methods=["rss", "deps"], seeds=[0])
    publish(folder=Path("two"))
    shutil.copytree("two", "one", dirs_exist_ok=True)
    assert contents(Path("one")) == whole
    assert [seed.seed for seed in read_seeds(Path("one/quick"))] == [0, 1]


def test_where_and_with_which_code_a_training_ran_is_noted(project):
    context = Context("train", "quick", method="deps", seed=0, params=read_params())
    live = LiveFile.of(context, "deps", read_manifest(Path("runs/quick/prepare")))
    origin = Origin(1, "secret-host", "c0ffee+changes", "", 4, "Some CPU, 8 cores", "2.14")
    records = [json.loads(line) for line in Path("runs/quick/train/deps-0/history.jsonl").read_text().splitlines()]
    live.path.parent.mkdir(parents=True)
    lines = [{"identity": live.identity.__dict__, "origin": origin.__dict__}]
    lines += [{"time": 1, "record": record} for record in records] + [{"end": "FINISHED"}]
    live.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    timing = context.state("timing", ".json")
    timing.parent.mkdir(parents=True)
    timing.write_text('{"seconds": 12.5}')
    for stage, started in (("evaluate", 0.0005), ("predict", 2.0)):  # before the training's end, and after it
        noted = Context(stage, "quick", method="deps", seed=0, params=read_params()).state("timing", ".json")
        noted.parent.mkdir(parents=True)
        noted.write_text(json.dumps({"started": started, "seconds": 7.5}))
        (noted.parent / "rss-0.json").write_text(noted.read_text())  # whose training was not here
    publish(0)
    runs = pd.read_csv(FOLDER / "seed-0/runs.csv").set_index("method")
    row = runs.loc["deps", ["machine", "threads", "torch", "commit", "dirty", "train_seconds"]]
    assert row.tolist() == ["Some CPU, 8 cores", 4, 2.14, "c0ffee", True, 12.5]
    assert "evaluate_seconds" not in runs or runs.evaluate_seconds.isna().all()
    assert runs.predict_seconds.dropna().to_dict() == {"deps": 7.5}
    assert runs.loc["rss", ["machine", "commit", "train_seconds"]].isna().all()
    assert not any(b"secret-host" in content for content in contents(FOLDER).values())
    live.path.write_text(live.path.read_text().replace('"epoch": 4', '"epoch": 5'))  # of another training
    shutil.rmtree(FOLDER)
    publish(0)
    assert pd.read_csv(FOLDER / "seed-0/runs.csv").machine.isna().all()


def test_an_unfinished_seed_is_left_out_or_refused(project):
    stale = ("search@quick-rss-1", "predict@quick-rss-1")
    what = publish(stale=stale)
    assert what[0] == "new"
    assert what[1] == (
        "seed 1 of quick is not finished: predict@quick-rss-1, search@quick-rss-1 have not run with the code, params "
        "and data that are here; 'deps repro' runs them"
    )
    with pytest.raises(UserError, match=r"^seed 1 of quick is not finished: predict@quick-rss-1"):
        publish(1, stale=stale)
    assert not (FOLDER / "seed-1").exists()
    with pytest.raises(UserError, match=r"--seeds: params\.yaml does not select 7; it selects 0, 1"):
        publish(7)
    shutil.rmtree(FOLDER)
    with pytest.raises(UserError, match="seed 0 of quick is not finished: prepare@quick"):
        publish(stale=("prepare@quick",))
    assert not FOLDER.exists()


def test_a_folder_that_is_of_no_seed_is_named(project):
    publish()
    (FOLDER / "seed-0").rename(FOLDER / "seed-0 (copy)")
    with pytest.raises(UserError, match=r"seed-0 \(copy\): expected the seed's number after 'seed-'; rename"):
        read_seeds(FOLDER)


def test_what_dvc_lock_does_not_say_is_refused(project):
    path = Path("runs/quick/evaluate/deps-0/population.csv")
    path.write_text(path.read_text().replace("70.0", "71.0"))
    with pytest.raises(UserError, match=r"population.csv is not what dvc.lock says; 'deps repro' makes it again"):
        publish(0)
    assert not FOLDER.exists()


def test_a_methods_code_edited_after_its_training_is_refused(project):
    path = Path("reports/checked/quick/train-rss.json")
    path.write_text('{"sha256": "other"}')
    with pytest.raises(UserError, match="the code of rss has changed since its results were made"):
        publish(0)


def test_what_was_trained_alone_follows_when_it_is_measured(project):
    assert publish(0, stale=("reference@quick",)) == {0: "new"}
    assert set(read_seed(FOLDER / "seed-0").archs.method) == {"deps", "rss"}
    assert publish(0) == {0: "more"}
    late = contents(FOLDER)
    shutil.rmtree(FOLDER)
    publish(0)
    assert contents(FOLDER) == late


def refuse(seed: int) -> str:
    before = contents(FOLDER)
    with pytest.raises(UserError) as caught:
        publish(seed)
    assert contents(FOLDER) == before
    return str(caught.value)


def test_other_code_is_refused(project, monkeypatch):
    publish(0)
    usual = collecting.code_hash
    monkeypatch.setattr(
        collecting, "code_hash", lambda stage, method=None: usual(stage, method) + "x" * (stage == "evaluate")
    )
    ending = "differ in code of evaluate; a published experiment is of one code, params and data"
    assert refuse(1) == f"{FOLDER}: what is published and what is here (seeds 1 and 0) {ending}"
    assert refuse(0) == f"results here and those published of seed 0 {ending}"


def test_further_seeds_are_of_the_commit_whose_code_is_theirs(project, monkeypatch):
    publish(0)
    found = results_of(read_seeds(FOLDER))
    assert found is not None
    assert found.commit_to_add(["deps", "rss"]) == ""
    usual = collecting.code_hash
    monkeypatch.setattr(
        collecting, "code_hash", lambda stage, method=None: usual(stage, method) + "x" * (method == "rss")
    )
    assert found.commit_to_add(["deps"]) == ""
    assert found.commit_to_add(["deps", "rss"]) == "a commit that was not noted"
    found.published[0].runs["commit"] = [None, "0123456789abcdef", *[None] * (len(found.published[0].runs) - 2)]
    assert found.commit_to_add(["rss"]) == "0123456"
    Path("pipelines").unlink()
    assert found.commit_to_add(["deps"]) == "0123456"


def test_other_params_are_refused(project):
    publish(0)
    select(experiments__quick__train__epochs=9, experiments__quick__methods__rss__epochs_ratio=7.0)
    text = refuse(1)
    assert "differ in params train.epochs (9 and 4), methods.rss.epochs_ratio (7.0 and 2.185); a published" in text
    select(experiments__quick__train__epochs=4)
    assert "differ in params methods.rss.epochs_ratio" in refuse(1)
    select(portable=True, experiments__quick__methods__rss__epochs_ratio=2.185)
    assert "differ in params portable (true and not there)" in refuse(1)
    select(portable=False, experiments__quick__methods__rss__epochs_ratio=7.0)
    select(methods=["deps"], experiments__quick__dataset__root="elsewhere", experiments__quick__tuning__trials=99)
    assert publish(1) == {1: "new"}


def test_other_data_are_refused(project):
    publish(0)
    path = Path("runs/quick/prepare/manifest.json")
    path.write_text(path.read_text().replace('"train": "1"', '"train": "9"'))
    write_lock(project)
    assert " differ in data (" in refuse(1)


def test_other_results_of_the_same_code_params_and_data_are_refused(project):
    publish(0)
    path = Path("runs/quick/evaluate/deps-0/metrics.json")
    path.write_text(path.read_text().replace("75.0", "76.0"))
    write_lock(project)
    assert refuse(0) == (
        f"{FOLDER}/seed-0 holds other results of evaluate/deps with the same code, params and data, as another machine "
        "makes them; remove the folder to publish these instead"
    )


def train_elsewhere(project: Path, method: str) -> None:
    """Leave results as another machine would: what was trained alone has other bits, and another method has run."""
    select(methods=[method])
    for path in (Path("runs/quick/full_model/0/summary.json"), Path("runs/quick/standalone/smallest-0/history.jsonl")):
        path.write_text(path.read_text().replace("0.4", "0.39"))
    Path("runs/quick/reference/full_model/0.json").write_text('{"pareto/largest_top1": 83.0}')
    shared = Path("runs/quick/reference/metrics.json")
    shared.write_text(shared.read_text().replace("81.25", "81.5"))
    write_lock(project)


@pytest.mark.parametrize(("first", "second"), [("deps", "rss"), ("rss", "deps")])
def test_a_method_may_come_from_another_machine_than_the_full_model(project, first, second):
    select(methods=[first])
    publish(0)
    alone = read_seed(FOLDER / "seed-0")
    train_elsewhere(project, second)
    assert publish(0) == {0: "more"}
    both = read_seed(FOLDER / "seed-0")
    assert [alone.methods, both.methods] == [[first], ["deps", "rss"]]
    for old, new in ((alone.archs, both.archs), (alone.runs, both.runs), (alone.history, both.history)):
        assert new[new.method != second][list(old)].reset_index(drop=True).equals(old)  # what was trained alone too
        assert (new.method == second).any()
    old, new = alone.provenance, both.provenance
    assert new["reference"] == old["reference"] == {"reference/logistic_regression_top1": 81.25}
    assert {name: sums for name, sums in new["results"].items() if not name.endswith(f"/{second}")} == old["results"]
    assert {name for name in new["results"] if name.endswith(f"/{second}")} == {
        f"{stage}/{second}" for stage in ("train", "evaluate", "predict", "search")
    }
    assert publish(0) == {0: "same"}
    for path in [path for path in Path("runs/quick").rglob("smallest-0*") if path.parent.name == "standalone"]:
        path.rename(path.with_name(path.name.replace("smallest", "largest")))
    select(standalone=["largest"])
    write_lock(project)
    assert refuse(0).startswith("standalone/largest and the published full model of seed 0 are of two machines; ")


def test_a_method_that_is_there_does_not_come_from_another_machine_too(project):
    publish(0)
    train_elsewhere(project, "rss")
    path = Path("runs/quick/train/rss-0/history.jsonl")
    path.write_text(path.read_text().replace("0.4", "0.39"))
    write_lock(project)
    assert refuse(0).startswith(
        f"{FOLDER}/seed-0 holds other results of full_model, reference/full_model, standalone/smallest, train/rss with"
    )


def test_folders_that_git_has_merged_are_of_one_kind(project):
    publish()
    seed = read_seed(FOLDER / "seed-1")
    other = replace(seed, provenance=seed.provenance | {"data": seed.provenance["data"] | {"hash": "0ther"}})
    for name, content in other.files().items():
        (FOLDER / "seed-1" / name).write_bytes(content)
    with pytest.raises(UserError, match=r"^seeds in reports/published/quick \(seeds 0 and 1\) differ in data \("):
        read_seeds(FOLDER)


def test_a_file_that_was_edited_is_refused(project):
    publish(0)
    path = FOLDER / "seed-0/archs.csv"
    path.write_text(path.read_text().replace("74.0", "84.0"))
    with pytest.raises(UserError, match=r"archs.csv is not what provenance.json says; take it from git again"):
        read_seed(FOLDER / "seed-0")


def test_nothing_is_left_half_written(project, monkeypatch):
    def fail(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        publish(0)
    assert not (FOLDER / "seed-0").exists()


def test_a_copy_of_a_seed_is_no_other_seed(project):
    """It would make an interval narrower, and so a verdict, of nothing."""
    publish(0)
    copy = FOLDER / "seed-6"
    shutil.copytree(FOLDER / "seed-0", copy)
    with pytest.raises(UserError, match=r"seed-6 holds seed 0 of quick; a copy is no other seed"):
        read_seeds(FOLDER)
    file = copy / "provenance.json"
    text = file.read_text()
    file.write_text(text.replace('"seed": 0', '"seed": 6'))
    with pytest.raises(UserError, match=r"seed-6/archs\.csv holds rows of another seed than 6"):
        read_seeds(FOLDER)
    own = read_seed(FOLDER / "seed-0")
    frames = {name: getattr(own, name).assign(seed=6) for name in ("archs", "runs", "history")}
    for name, content in replace(own, seed=6, **frames).files().items():
        (copy / name).write_bytes(content)
    with pytest.raises(UserError, match=r"seeds 0 and 6 have the same bits of full_model; a copy of a seed"):
        read_seeds(FOLDER)
    shutil.rmtree(copy)
    FOLDER.rename(PUBLISHED / "other")
    with pytest.raises(UserError, match=r"other/seed-0 holds seed 0 of quick"):
        read_seeds(PUBLISHED / "other")
