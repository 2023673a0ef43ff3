"""A report drawn from published rows is that of the runs, and needs none of them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dεps.core.params import read_params
from dεps.report.figures import differences
from dεps.report.marks import table
from dεps.report.page import provenance
from dεps.report.publishing.publish import publish
from dεps.report.publishing.results import is_published, published_results
from dεps.report.publishing.seed import PUBLISHED
from dεps.report.registry import figures, registered
from dεps.report.results import all_results, results_of
from dεps.report.shown import print_results
from dεps.report.statistics import paired
from dεps.report.tables import caption, summary
from dεps.workspace.decides import sections_behind
from tests.report.made_up import SEARCHED, write_report
from tests.tools.published import write_lock, write_project


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Both seeds published, one after the other."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for number in (0, 1):  # archs that differ, as those of real populations
        path = Path(f"runs/quick/evaluate/deps-{number}/population.csv")
        pd.read_csv(path).assign(arch=[*SEARCHED, "k3e3_k3e2_k3e2_r28"]).to_csv(path, index=False)
        table = {"arch": SEARCHED[:2], "macs": [900_000, 1_100_000], "measured": 70.0, "predicted": [70.25, 69.5]}
        pd.DataFrame(table).to_csv(f"runs/quick/predict/deps-{number}/predictions.csv", index=False)
    write_lock(tmp_path)
    for seed in (0, 1):
        list(publish(read_params(), "quick", [seed], lambda names: set()))
    return tmp_path


def same(one: pd.DataFrame, other: pd.DataFrame, columns: list[str]) -> None:
    one, other = (frame[columns].sort_values(columns[:3]).reset_index(drop=True) for frame in (one, other))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_every_table_is_that_of_the_runs(project):
    (mine,), (theirs,) = published_results(), all_results(read_params())
    assert (mine.methods, mine.seeds) == (theirs.methods, theirs.seeds) == (["deps", "rss"], [0, 1])
    measured = ["method", "seed", "macs", "arch", "params", "val_top1", "test_top1"]
    same(mine.pareto, theirs.pareto, [*measured, "name"])
    assert len(mine.pareto) == 24
    same(mine.population, theirs.population, [*measured, "bucket"])
    same(mine.searched, theirs.searched, ["method", "seed", "macs", "arch", "params", "predicted", "measured"])
    deps = theirs.predictions.query("method == 'deps'")
    columns = ["method", "seed", "macs", "arch", "measured", "predicted"]
    same(mine.predictions.query("method == 'deps'"), deps, columns)
    assert mine.metrics.shape == (4, theirs.metrics.shape[1])
    same(mine.metrics, theirs.metrics, ["method", "seed", *sorted(set(theirs.metrics) - {"method", "seed"})])
    same(mine.history, theirs.history, ["method", "seed", "epoch", "step", "phase", "val/largest_top1"])
    assert [p for p in mine.history.phases if p is not np.nan] == [p for p in theirs.history.phases if p is not np.nan]
    same(mine.standalone, theirs.standalone, ["standalone", "seed", "macs", "arch", "test_top1", "train_tmacs"])
    assert mine.reference == theirs.reference
    assert mine.manifest["sha256"] == theirs.manifest["sha256"]
    assert summary(mine).equals(summary(theirs))
    assert caption(mine) == caption(theirs).replace("quick:", "quick, published:")
    assert provenance.runs(mine) == provenance.runs(theirs)
    assert provenance.data_digest(mine) == provenance.data_digest(theirs)


def test_the_params_that_any_figure_names_are_published(project):
    (results,) = published_results()
    for figure in figures(results):
        behind = sections_behind(source.split("/")[0] for source in figure.about.sources)
        assert set(behind) <= set(results.params)
    assert set(sections_behind(["search", "reference"])) == set(results.params)


def test_the_report_needs_no_runs(project, capsys):
    write_report()
    figure = Path("reports/figures/quick/pareto.svg")
    assert figure.read_bytes() == Path("reports/experiments/quick/pareto.svg").read_bytes()
    drawn = {path.name for path in Path("reports/figures/quick").iterdir()}
    names = {one.name for one in registered() if not one.needs_study and not one.needs_exports}
    assert {f"{name}.{ending}" for name in names for ending in ("svg", "png", "pdf")} <= drawn
    assert "results.md" in drawn
    text = Path("reports/index.html").read_text()
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(identifiers)
    assert "<h2>quick, published</h2>" in text
    assert "Drawn from reports/published/quick; made on a machine not noted; commits not noted" in text
    assert "<code>reports/published/quick/seed-1/archs.csv</code>" in text
    for link in re.findall(r'href="((?:experiments|figures)/[^"]+)"', text):
        assert Path("reports", link).exists()
    print_results()
    assert capsys.readouterr().out.count("published: m, mbv3_micro, 2 seeds") == 1

    shutil.copytree("runs/quick", "runs/other")
    shutil.rmtree("runs/quick")
    params = read_params()
    own = params["experiments"] | {"other": params["experiments"]["quick"]}
    Path("params.yaml").write_text(json.dumps(params | {"names": ["other"], "experiments": own}))
    before = figure.read_bytes()
    shutil.rmtree("reports/figures")
    shutil.rmtree("reports/experiments")
    write_report()
    assert figure.read_bytes() == before
    assert Path("reports/index.html").read_text().count("<svg") == len(names) + len(
        [one for one in registered() if not one.needs_study]  # runs/other has exports
    )


def test_without_anything_published_there_is_a_folder_and_no_section(project):
    shutil.rmtree(PUBLISHED)
    write_report()
    assert [path.name for path in Path("reports/figures").iterdir()] == ["README.md"]
    assert "quick, published" not in Path("reports/index.html").read_text()


def test_methods_that_a_seed_lacks_and_seeds_that_are_not_measured_are_not_drawn(project):
    shutil.rmtree(PUBLISHED / "quick/seed-1")
    params = read_params()
    list(publish(params | {"methods": ["deps"]}, "quick", [1], lambda names: set()))
    (results,) = published_results()
    assert (results.methods, results.seeds) == (["deps"], [0, 1])
    assert "; not shown: RSS (seed 1 without it); τ of DεpS is of 2 archs a seed" in caption(results)
    assert (results.every.methods, results.every.seeds) == (["deps", "rss"], [0, 1])
    assert results.every.metrics[["method", "seed"]].to_numpy().tolist() == [["deps", 0], ["deps", 1], ["rss", 0]]
    shared = paired(results.every.metrics, "pareto/mean_top1", "rss", "deps")
    assert shared is not None
    drawn = differences.draw(results)
    (mean,) = table(drawn).query("metric == 'mean Pareto' and low.isna() and method == 'rss'").difference.unique()
    assert (shared.count, round(mean, 4)) == (1, round(shared.mean, 4))  # the seed that both have
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()] == ["RSS (1)"]
    shutil.rmtree(PUBLISHED / "quick/seed-1")
    list(publish(params, "quick", [1], lambda names: {"reference@quick"}))
    (results,) = published_results()
    assert (results.methods, results.seeds) == (["deps", "rss"], [0])
    assert "; not shown: seed 1 (not yet with what was trained alone); τ of" in caption(results)
    assert results.reference["reference/full_model_top1_std"] == 0.0
    shutil.rmtree(PUBLISHED / "quick/seed-0")
    assert published_results() == []


def test_results_here_that_are_published_are_known_by_each_number(project):
    published, params = published_results(), read_params()
    assert is_published(results_of(params, "quick"), published)
    assert is_published(results_of(params | {"methods": ["rss"], "seeds": [1]}, "quick"), published)
    assert not is_published(results_of(params | {"seeds": [0, 1, 2]}, "quick"), published)
    assert not is_published(results_of(params | {"methods": ["deps", "ofa"]}, "quick"), published)
    path = Path("runs/quick/predict/deps-0/metrics.json")
    path.rename("kept")
    assert not is_published(results_of(params, "quick"), published)
    Path("kept").rename(path)
    assert not is_published(results_of(params, "quick"), [])
    path = Path("runs/quick/evaluate/rss-1/metrics.json")
    numbers = json.loads(path.read_text())
    path.write_text(json.dumps(numbers | {"pareto/mean_top1": numbers["pareto/mean_top1"] + 0.01}))
    assert not is_published(results_of(params, "quick"), published)
    assert is_published(results_of(params | {"methods": ["deps"]}, "quick"), published)


def test_experiments_of_most_seeds_come_first(project):
    for name, seeds in (("another", ["seed-0"]), ("zebra", ["seed-0", "seed-1"])):
        for seed in seeds:
            place = PUBLISHED / name / seed
            shutil.copytree(PUBLISHED / "quick" / seed, place)
            path = place / "provenance.json"
            path.write_text(path.read_text().replace('"experiment": "quick"', f'"experiment": "{name}"'))
    assert [one.experiment for one in published_results()] == ["quick", "zebra", "another"]
