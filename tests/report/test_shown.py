import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.report import shown
from dεps.report.shown import print_archs, print_results, searched, shown_results
from dεps.report.tables import WORDS
from tests.conftest import ROOT


def test_results_are_printed_with_what_their_words_mean(results, capsys):
    print_results()
    text = capsys.readouterr().out
    assert "80.50 ± 0.71" in text  # mean Pareto top-1 of 80 and 81
    for word in ("mean Pareto top-1", "TMACs", "τ"):
        assert f"{word}: {WORDS[word]}\n" in text
    assert text.endswith("report: reports/index.html\n")


def test_results_as_json_are_those_of_the_tables_published_ones_too(results, monkeypatch):
    found = json.loads(shown.results_json())["experiments"]
    assert list(found) == ["quick"]
    assert found["quick"]["methods"]["deps"]["0"]["pareto/mean_top1"] == 80.0
    monkeypatch.setattr(type(results), "title", "quick, published")
    monkeypatch.setattr(shown, "published_results", lambda: [results])
    Path("runs").rename("elsewhere")
    monkeypatch.setattr(shown, "to_json", lambda experiments: json.dumps([one.title for one in experiments]))
    assert json.loads(shown.results_json()) == ["quick, published"]


def test_searched_archs_are_those_that_were_measured(results):
    found = searched(results)
    assert found.groupby(["method", "seed"], sort=False).macs.apply(list).to_dict() == {
        (method, seed): [1e6, 3e6] for method in ("deps", "rss") for seed in (0, 1)
    }
    assert found.measured.tolist() == [69, 71] * 4


def test_searched_archs_are_printed_by_method_and_as_json(results, capsys):
    print_archs()
    text = capsys.readouterr().out
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in text.splitlines() if line.startswith("│ ")]
    assert rows[0] == ["DεpS", "0", "1 M", "9", "70.00", "69.00", "k3e2_k3e2_k3e2_r28"]
    assert [row[0] for row in rows if row[0]] == ["DεpS"] * 4 + ["RSS"] * 4
    (row, *_) = json.loads(shown.archs_json())["archs"]["quick"]
    assert (row["method"], row["seed"], row["macs"], row["measured"]) == ("deps", 0, 1e6, 69.0)


def test_what_is_selected_and_has_not_run_is_named(results, capsys):
    shutil.move("runs", "elsewhere")
    shown._say_what_has_not_run()
    said = "quick is selected and has not run here; 'dvc repro' runs it, or 'dvc pull' brings it\n"
    assert capsys.readouterr().out == said


def test_without_a_study_one_line_says_so(results, capsys):
    shown.print_study()
    assert (
        capsys.readouterr().out
        == "no experiment that is published or has run here has a study; 'dvc repro tune' makes it\n"
    )
    assert json.loads(shown.study_json()) == {"study": {}}


def test_what_has_not_run_is_an_error_only_where_nothing_is_published(results, monkeypatch, capsys):
    Path("runs").rename("elsewhere")
    with pytest.raises(UserError, match="runs/quick"):
        print_results()
    published = results
    monkeypatch.setattr(shown, "published_results", lambda: [published])
    assert shown_results() == [published]


def test_the_command_takes_each_and_all(results, monkeypatch):
    monkeypatch.setattr("dεps.planning.claims.training_cost", lambda name: {})  # which composes presets
    for what in ("archs", "study", "all"):
        done = CliRunner().invoke(main, ["show", what])
        assert done.exit_code == 0, done.output
    parts = (
        "report: reports/index.html",
        "The papers' claims",
        "archs that search found",
        "no experiment that is published or has run here",
    )
    assert all(part in done.output for part in parts)
    done = CliRunner().invoke(main, ["show", "all", "--json"])
    assert (done.exit_code, done.stdout) == (2, "")


def test_the_readme_explains_words_as_the_tables_do():
    text = re.sub(r"\s+", " ", re.sub(r"[*`]", "", (ROOT / "README.md").read_text("utf-8")))
    for word in ("mean Pareto top-1", "TMACs", "τ"):
        assert f"- {word}: {WORDS[word]}" in text
