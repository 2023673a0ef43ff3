"""A study is published whole, drawn as that of the runs, and refused where it is none of the published seeds'."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from rocrate.rocrate import ROCrate

from dεps.cli import publish as command
from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.core.schema import structured
from dεps.report.page import provenance
from dεps.report.publishing.crate import write_crate
from dεps.report.publishing.publish import publish, publish_study
from dεps.report.publishing.results import published_results
from dεps.report.publishing.seed import PUBLISHED
from dεps.report.publishing.study import FILES, read_study
from dεps.report.registry import figures
from dεps.report.results import all_results
from dεps.report.tables import study_caption, study_table
from dεps.tuning.config import TuningConfig
from dεps.tuning.outputs import importances
from tests.conftest import ROOT
from tests.report.made_up import write_report
from tests.tools.published import add_study, write_lock, write_project

FOLDER = PUBLISHED / "quick"


def nothing(names) -> set[str]:
    return set()


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two published seeds, and a study that is not yet."""
    write_project(tmp_path)
    add_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    list(publish(read_params(), "quick", [], nothing))
    return tmp_path


def test_it_is_the_stages_files_with_what_decides_them(project):
    assert publish_study(read_params(), "quick", nothing) == (True, 10)
    there = {path.name: path.read_bytes() for path in (FOLDER / "study").iterdir()}
    assert there.keys() == {*FILES, "params.yaml", "provenance.json"}
    assert "importance.csv" not in there
    assert all(there[name] == Path("runs/quick/tune", name).read_bytes() for name in FILES if name != "best.yaml")
    best = Path("runs/quick/tune/best.yaml").read_text("utf-8")
    command = "+from=reports/published/quick/study/best.yaml"
    assert there["best.yaml"].decode() == best.replace("+from=runs/quick/tune/best.yaml", command)
    params = yaml.safe_load(there["params.yaml"])
    assert params.keys() == {"dataset", "space", "train", "full_model", "evaluate", "tuning"}
    assert "root" not in params["dataset"]
    facts = json.loads(there["provenance.json"])
    assert facts["code"].keys() == {"tune"}
    assert facts["results"].keys() == {"prepare", "full_model", "tune"}
    assert publish_study(read_params(), "quick", nothing) == (False, 10)
    assert read_study(PUBLISHED / "other") is None


def test_importances_are_of_its_trials_by_the_code_here(project):
    Path("runs/quick/tune/importance.csv").write_text("option,accuracy,cost\ntemperature,1.0,1.0\n")  # as older code
    write_lock(project)
    publish_study(read_params(), "quick", nothing)
    (found,) = published_results()
    config = structured(TuningConfig, found.params["tuning"], "tuning")
    assert found.importance.equals(importances(found.trials, config))
    assert len(found.importance) > 1


def test_it_is_drawn_without_runs_as_with_them(project):
    publish_study(read_params(), "quick", nothing)
    (theirs,) = all_results(read_params())
    own = study_table(theirs), study_caption(theirs), theirs.study, [one.name for one in figures(theirs)]
    digest = provenance.runs(theirs)[-1]
    shutil.rmtree("runs")
    (mine,) = published_results()
    assert mine.has_study
    assert study_table(mine).equals(own[0])
    assert study_caption(mine) == own[1].replace("runs/quick/tune/", "reports/published/quick/study/")
    assert mine.study == own[2]
    assert {name for name in own[3] if name.startswith("tuning")} == {
        figure.name for figure in figures(mine) if figure.name.startswith("tuning")
    }
    assert provenance.runs(mine)[-1] == digest
    (source, *_) = provenance.sources(mine, "tune/trials.csv")
    assert source.path == "reports/published/quick/study/trials.csv"
    for figure in figures(mine):
        if figure.needs_study:
            assert figure.draw(mine).axes


def test_the_page_shows_it_beside_the_experiments_own(project):
    publish_study(read_params(), "quick", nothing)
    write_report()
    page = Path("reports/index.html").read_text("utf-8")
    for place in ("quick", "quick-published"):
        assert f'id="{place}-study"' in page
        assert f'id="{place}-tuning_front"' in page
    assert (Path("reports/figures/quick/study.md")).exists()


def test_without_one_there_is_none(project):
    (mine,) = published_results()
    assert not mine.has_study
    params = read_params()
    params["experiments"]["quick"]["tuning"]["trials"] = 0
    with pytest.raises(UserError, match=r"experiments.quick.tuning.trials is 0, so there is no study"):
        publish_study(params, "quick", nothing)


def test_an_unfinished_one_is_refused(project):
    with pytest.raises(UserError, match=r"the study of quick is not finished: tune@quick has not run"):
        publish_study(read_params(), "quick", lambda names: {"tune@quick"})
    Path("runs/quick/tune/best.yaml").write_text("{}\n")
    with pytest.raises(UserError, match=r"runs/quick/tune/best.yaml is not what dvc.lock says"):
        publish_study(read_params(), "quick", nothing)
    write_lock(project)
    Path("reports/checked/quick/tune.json").write_text('{"sha256": "old"}')
    with pytest.raises(UserError, match=r"the code of tune has changed since its results were made"):
        publish_study(read_params(), "quick", nothing)
    assert not (FOLDER / "study").exists()


def test_another_one_is_refused_as_long_as_one_is_there(project):
    publish_study(read_params(), "quick", nothing)
    shutil.rmtree("runs/quick/tune")
    shutil.rmtree("study")
    add_study(project, trials=9)
    before = (FOLDER / "study/trials.csv").read_bytes()
    with pytest.raises(UserError, match=r"quick/study holds another study; remove the folder to publish this one"):
        publish_study(read_params(), "quick", nothing)
    assert (FOLDER / "study/trials.csv").read_bytes() == before
    shutil.rmtree(FOLDER / "study")
    assert publish_study(read_params(), "quick", nothing) == (True, 9)


def test_it_has_the_trunk_the_params_and_the_data_of_the_seeds(project):
    path = Path("runs/quick/full_model/0/history.jsonl")
    before = path.read_text()
    path.write_text(before.replace("1", "2"))
    write_lock(project)
    said = "the study of quick has other trunk than the published seed 0; a published experiment is of one kind"
    with pytest.raises(UserError, match=said):
        publish_study(read_params(), "quick", nothing)
    path.write_text(before)
    write_lock(project)
    params = read_params()
    params["experiments"]["quick"]["train"]["epochs"] = 13
    with pytest.raises(UserError, match="has other params of train than the published seed 0"):
        publish_study(params, "quick", nothing)
    params = read_params()
    params["experiments"]["quick"]["evaluate"]["recalibration_images"] = 17
    with pytest.raises(UserError, match=r"has other evaluate.recalibration_images \(17 and \d+\) than"):
        publish_study(params, "quick", nothing)


def test_a_seed_that_is_not_the_studys_is_refused_beside_it(project):
    shutil.rmtree(FOLDER / "seed-0")
    shutil.rmtree(FOLDER / "seed-1")
    publish_study(read_params(), "quick", nothing)
    params = read_params()
    params["experiments"]["quick"]["train"]["epochs"] = 13
    with pytest.raises(UserError, match="has other params of train than the published seed 1"):
        list(publish(params, "quick", [1], nothing))
    assert not (FOLDER / "seed-1").exists()


def test_a_changed_file_is_found_when_it_is_read(project):
    publish_study(read_params(), "quick", nothing)
    (FOLDER / "study/trials.csv").write_text("trial\n0\n")
    with pytest.raises(UserError, match=r"quick/study/trials.csv is not what provenance.json says; take it from git"):
        published_results()
    (FOLDER / "study/trials.csv").unlink()
    with pytest.raises(UserError, match=r"quick/study/trials.csv cannot be read"):
        published_results()


def test_a_copy_in_another_experiment_is_refused(project):
    publish_study(read_params(), "quick", nothing)
    shutil.copytree(FOLDER, PUBLISHED / "other")
    with pytest.raises(UserError, match=r"other/study holds the study of quick"):
        read_study(PUBLISHED / "other")


def test_a_crate_holds_it(project):
    publish_study(read_params(), "quick", nothing)
    Path("CITATION.cff").write_bytes((ROOT / "CITATION.cff").read_bytes())
    names = write_crate("quick", Path("quick.zip"))
    assert {f"quick/study/{name}" for name in (*FILES, "params.yaml", "provenance.json")} <= set(names)
    assert "figures/tuning_front.svg" in names
    shutil.unpack_archive("quick.zip", "out")
    entities = {entity.id: entity for entity in ROCrate("out").data_entities}
    assert entities["quick/study/trials.csv"]["description"].startswith("One row a trial of the study")


def test_the_command_says_what_it_did(project, monkeypatch):
    monkeypatch.setattr("dεps.cli.parallel.dag.Dag", Everything)
    result = CliRunner().invoke(command.publish, ["quick", "--study"])
    assert result.exit_code == 0, result.output
    assert result.output == "reports/published/quick/study: written, 10 trials\ngit add reports/published/quick\n"
    assert "as it was, 10 trials" in CliRunner().invoke(command.publish, ["quick", "--study"]).output
    result = CliRunner().invoke(command.publish, ["quick", "--study", "--seeds", "0"])
    assert "--study and --seeds exclude each other" in str(result.exception)


class Everything:
    """A graph in which nothing has changed."""

    order = ("prepare@quick", "full_model@quick-0", "tune@quick")

    def unfinished(self, names) -> set[str]:
        return set()
