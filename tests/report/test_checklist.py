"""The checklist says what files say, and "not known" where they do not."""

from dataclasses import replace
from pathlib import Path

import pytest

from dεps.core.params import read_params
from dεps.report import claims
from dεps.report.checklist import UNKNOWN, checklist
from dεps.report.claims import Claim
from dεps.report.publishing.publish import publish
from dεps.report.publishing.results import published_results
from dεps.report.results import Results
from tests.report.made_up import write_report
from tests.tools.published import write_project
from tests.tuning.tables import write_study


def answers(results: Results) -> dict[str, str]:
    table = checklist(results)
    assert list(table.columns) == ["about", "question", "answer", "from"]
    assert table.question.is_unique
    return dict(zip(table.question, table.answer, strict=True))


def test_answers_are_those_of_params_and_results(results):
    found = answers(results)
    assert found["How many runs, with which seeds?"] == (
        "2 methods × 2 seeds (0, 1) once each, and 1 arch trained alone, once a seed"
    )
    assert found["Which data, and how many images?"] == (
        "m (source s): 7,000 train, 1,000 validation, 2,000 test; 2 classes; 28 pixels a side, 1 channel"
    )
    assert found["How are train, validation and test split?"] == (
        "what the source lacks is held out of train: 10%, drawn with seed 0; equal images in two of its splits: error"
    )
    assert found["Which models and algorithms are compared?"].startswith("mbv3_micro, ")
    assert found["Which models and algorithms are compared?"].endswith("; methods DεpS, RSS")
    assert "epochs 4, batch_size 64, " in found["Which hyper-parameters?"]
    assert "crop_padding 1" in found["How are training images changed?"]
    assert found["Which error bars, and of what?"].startswith("n = 2 seeds: mean ± standard deviation of a sample")
    assert "(Student's t)" in found["Which error bars, and of what?"]
    assert found["What does training cost?"] == "DεpS 0.4, RSS 0.4 TMACs a seed"
    nowhere = ("How were they chosen?", "Which ranges of them were tried?", "How long does it take?")
    nowhere += ("On which machines?", "With which libraries?", "Which commits made the results?")
    nowhere += ("Which trained models come with it?", "Limitations, and who may be harmed")
    assert {found[question] for question in nowhere} == {UNKNOWN}


def test_one_seed_has_no_error_bars_and_params_without_a_split_say_nothing(results):
    params = {**results.params, "dataset": {"name": "m"}}
    found = answers(Results("quick", ["deps"], [0], params))
    assert found["Which error bars, and of what?"] == "none: one seed"
    assert found["How are train, validation and test split?"] == UNKNOWN
    assert found["How many runs, with which seeds?"].startswith("1 method × 1 seed (0) once each")


def test_a_study_says_what_was_tried(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    found = answers(results)
    assert "shrink_start, " in found["How were they chosen?"]
    assert found["How were they chosen?"].endswith(
        f"an Optuna study of 10 trials on validation, seed 0; all others: {UNKNOWN}"
    )
    assert "ramp_epochs.low 0.0" in found["Which ranges of them were tried?"]


def test_claims_are_counted_by_verdict(results, monkeypatch):
    assert answers(results)["Which claims do the results decide?"] == UNKNOWN
    said = {"sentence": "s", "paper": "p", "place": "q", "metric": "pareto/mean_top1", "above": 0.0}
    both = {f"c{n}": Claim(order=n, method="rss", against="deps", experiments=["quick"], **said) for n in (1, 2)}
    monkeypatch.setattr(claims, "claims", lambda: both)
    assert answers(results)["Which claims do the results decide?"] == "2 undecided"


@pytest.fixture
def published(tmp_path, monkeypatch) -> Results:
    """Two published seeds, whose trainings have noted where they ran; one of them not for how long."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    list(publish(read_params(), "quick", [], lambda names: set()))
    assert answers(published_results()[0])["On which machines?"] == UNKNOWN
    (results,) = published_results()
    for seed in results.published:
        runs = seed.runs
        runs["machine"], runs["threads"], runs["torch"] = f"CPU {seed.seed}", 1, "2.14.0"
        runs["commit"], runs["dirty"], runs["train_seconds"] = "abc", seed.seed == 1, 1800.0
    return results


def test_of_published_trainings_time_and_place_are_known(published):
    count = len(published.notes)
    found = answers(published)
    assert found["How long does it take?"] == f"{count / 2:.3g} hours of training in all, the longest 0.5"
    half = count // 2
    assert found["On which machines?"] == (
        f"CPU 0 ({half} trainings), CPU 1 ({half} trainings); 1 thread ({count} trainings)"
    )
    assert found["With which libraries?"] == f"torch 2.14.0 ({count} trainings)"
    assert found["Which commits made the results?"] == f"abc ({count} trainings); {half} with uncommitted changes"


def test_what_some_trainings_have_not_noted_is_said(published):
    published.notes.loc[0, ["machine", "train_seconds"]] = None
    found = answers(published)
    assert f"{UNKNOWN} (1 training)" in found["On which machines?"]
    assert found["How long does it take?"] == UNKNOWN


def test_it_is_a_file_of_the_report_and_a_section_of_the_page(results):
    write_report()
    text = Path("reports/experiments/quick/checklist.md").read_text()
    assert "| results | Which error bars, and of what? | n = 2 seeds: " in text
    assert '<section id="quick-checklist">' in Path("reports/index.html").read_text()


def test_trainings_of_methods_that_are_not_shown_are_not_counted(published):
    shown = replace(published, methods=["deps"])
    names = set(published.notes.method) - {"rss"}
    assert set(shown.notes.method) == names
    assert "rss" in set(published.notes.method)
