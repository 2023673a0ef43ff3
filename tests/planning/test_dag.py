import pytest
import yaml

from dεps.core.errors import UserError
from dεps.planning.dag import Stage, read_stages
from tests.conftest import ROOT

PARAMS = {
    "names": ["quick"],
    "methods": ["deps", "rss"],
    "standalone": ["smallest"],
    "finetuned": [],
    "seeds": [0, 1, 2],
}


@pytest.fixture(scope="module")
def stages():
    return {stage.name: stage for stage in read_stages(PARAMS, ROOT / "dvc.yaml")}


def test_each_stage_is_there_once_after_those_that_it_reads(stages):
    assert set(stages) == set(yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"])
    names = list(stages)
    assert names[:2] == ["check", "prepare"]
    assert all(names.index(one) < names.index(stage.name) for stage in stages.values() for one in stage.after)


def test_only_the_nearest_stages_are_named(stages):
    after = {name: set(stage.after) for name, stage in stages.items()}
    assert after["prepare"] == {"check"}
    assert after["train"] == {"full_model"}  # and so after prepare, whose images it reads
    assert after["reference"] == {"full_model", "standalone"}
    assert after["search"] == {"predict"}
    assert after["finetune"] == {"export"}
    assert after["report"] == {"reference", "finetune", "tune"}
    assert after["page"] == {"report"}


def test_items_are_counted_by_params(stages):
    assert (stages["check"].items, stages["check"].count) == ({}, 1)
    assert (stages["train"].items, stages["train"].count) == ({"experiment": 1, "method": 2, "seed": 3}, 6)
    assert stages["tune"].count == 1


def test_an_output_below_a_dependency_counts(tmp_path):
    made = {"desc": "m", "outs": ["runs/a/x.csv", {"runs/b": {"cache": False}}]}
    text = yaml.safe_dump({"stages": {"reads": {"desc": "r", "deps": ["runs/a", "runs/b/y.csv"]}, "makes": made}})
    (tmp_path / "dvc.yaml").write_text(text)
    assert read_stages({}, tmp_path / "dvc.yaml") == [Stage("makes", {}, (), "m"), Stage("reads", {}, ("makes",), "r")]


def test_a_folder_without_a_pipeline_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"dvc.yaml does not exist here"):
        read_stages({}, tmp_path / "dvc.yaml")
