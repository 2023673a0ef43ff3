import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dεps.data.manifest import read_manifest
from dεps.report.page import provenance
from dεps.report.publishing.results import published_results
from dεps.report.registry import figures, registered
from dεps.report.results import results_of
from dεps.workspace.decides import sections_behind
from dεps.workspace.identity import run_identity
from tests.conftest import ROOT
from tests.tuning.tables import write_study


@pytest.fixture
def pareto():
    return next(figure for figure in registered() if figure.name == "pareto")


def test_runs_have_the_identities_that_mlflow_knows(results):
    runs = {run.name: run.identity for run in provenance.runs(results)}
    names = ["full_model", "standalone-smallest", "deps", "rss"]
    assert list(runs) == [f"{name}-{seed}" for name in names for seed in (0, 1)]
    params, manifest = yaml.safe_load(Path("params.yaml").read_text()), read_manifest(Path("runs/quick/prepare"))
    for method, seed in (("deps", 1), ("standalone-smallest", 0), ("full_model", 0)):
        assert runs[f"{method}-{seed}"] == run_identity(params, "quick", method, seed, manifest).digest


def test_portable_runs_are_others_as_mlflow_knows_them(results):
    params, manifest = yaml.safe_load(Path("params.yaml").read_text()), read_manifest(Path("runs/quick/prepare"))
    other = results_of(params | {"portable": True}, "quick")
    (found,) = [run.identity for run in provenance.runs(other) if run.name == "deps-1"]
    assert found == run_identity(params | {"portable": True}, "quick", "deps", 1, manifest).digest
    assert found != next(run.identity for run in provenance.runs(results) if run.name == "deps-1")


def test_published_runs_have_the_identity_that_was_noted():
    found = published_results(ROOT / "reports/published")
    for one in found:
        noted = pd.concat([pd.read_csv(path, dtype=str) for path in sorted(one.folder.glob("seed-*/runs.csv"))])
        expected = {f"{row.method}-{row.seed}": row.identity for row in noted.itertuples()}
        runs = {run.name: run.identity for run in provenance.runs(one) if run.name != "tune"}
        assert runs.items() <= expected.items()
        assert {f"{method}-{seed}" for method, seed in one.runs} <= runs.keys()
        cached = tuple(replace(seed, runs=seed.runs.assign(identity=None)) for seed in one.published)
        assert {run.identity for run in provenance.runs(replace(one, published=cached)) if run.name != "tune"} == {""}


def test_the_study_has_the_identity_that_mlflow_knows(results, tmp_path):
    from dεps.tracking import studies

    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=5)
    params = yaml.safe_load(Path("params.yaml").read_text())
    expected = studies._study_identity(params, "quick", results.manifest).digest
    assert provenance.runs(results)[-1] == provenance.Run("tune", expected)


def test_an_origin_changes_with_what_decides_the_figure_and_with_nothing_else(results, pareto):
    before = provenance.origin(results, pareto)
    behind = ("dataset", "space", "train", "full_model", "reference", "evaluate", "methods")
    assert before.keys == tuple(f"experiments.quick.{key}" for key in behind)
    assert before.runs == (
        *("deps-0", "deps-1", "rss-0", "rss-1", "full_model-0", "full_model-1"),
        *("standalone-smallest-0", "standalone-smallest-1"),
    )
    results.params["dataset"]["root"] = "/elsewhere"
    results.params["predict"]["epochs"] = 1
    assert provenance.origin(results, pareto) == before
    results.params["train"]["epochs"] = 99
    assert provenance.origin(results, pareto).params != before.params
    path = Path("runs/quick/evaluate/rss-1/pareto.csv")
    path.write_text(path.read_text().replace("70.0", "70.5"))
    after = provenance.origin(results, pareto)
    changed = {source for source in before.results if before.results[source] != after.results[source]}
    assert changed == {"evaluate/pareto.csv"}


def test_only_selected_methods_count(results):
    one = replace(results, methods=["deps"])
    assert list(provenance.determinants(one)["methods"]) == ["deps"]
    assert "root" not in provenance.determinants(one)["dataset"]


def test_sources_are_files_with_their_md5_and_the_stage_that_dvc_knows(results):
    found = provenance.all_sources(results, figures(results))
    assert len({file.path for file in found}) == len(found)
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for file in found:
        assert file.md5 == hashlib.md5(Path(file.path).read_bytes()).hexdigest()
        assert file.stage.split("@")[0] in stages
    assert found[0] == provenance.Source("evaluate@quick-deps-0", "runs/quick/evaluate/deps-0/pareto.csv", found[0].md5)


def test_every_source_is_an_output_that_dvc_hashes():
    """By itself, or in the folder of a stage that writes as many files as there are budgets."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for figure in registered():
        for source in figure.about.sources:
            stage, file = source.split("/")
            outs = [out for kind in ("outs", "metrics", "plots") for out in stages[stage].get(kind, [])]
            paths = [out if isinstance(out, str) else next(iter(out)) for out in outs]
            assert any(path.endswith((f"/{file}", f"/{stage}/${{item.method}}-${{item.seed}}")) for path in paths), (
                source
            )
        for key in sections_behind(source.split("/")[0] for source in figure.about.sources):
            assert key in yaml.safe_load((ROOT / "params.yaml").read_text())["experiments"]["quick"]


def test_the_drawing_code_is_a_dependency_of_the_stage(pareto):
    code = provenance.code_of(pareto.file)
    assert code == provenance.Source("report", "dεps/report/figures/pareto.py", provenance.md5(ROOT / code.path))
    assert "dεps/report" in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["report"]["deps"]
