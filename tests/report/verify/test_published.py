"""Results here beside published seeds of the same experiment, where the commit's `dvc.lock` has none of it."""

import shutil
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from scipy.stats import t

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.core.files import read_json, write_json
from dεps.core.params import read_params
from dεps.report.publishing import collect as collecting
from dεps.report.publishing.publish import publish
from dεps.report.publishing.seed import PUBLISHED
from dεps.report.verify.published import verify_published
from tests.report.verify.test_commit import git
from tests.tools.published import write_lock, write_project

METRICS = Path("runs/quick/evaluate/{}/metrics.json")


def select(**keys: object) -> None:
    Path("params.yaml").write_text(yaml.dump(read_params() | keys))


def change(instance: str, **values: float) -> None:
    path = Path(str(METRICS).format(instance))
    write_json(path, read_json(path) | {f"pareto/{name}_top1": value for name, value in values.items()})
    write_lock(Path())


def verify(*stale: str):
    return verify_published(read_params(), "quick", lambda names: set(names).intersection(stale))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Seeds 0 and 1, published; smallest top-1 on test of 75 and 77 of RSS, 75 and 75 of DεpS."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    change("rss-1", smallest=77.0)
    list(publish(read_params(), "quick", [], lambda names: set()))
    return tmp_path


def test_the_same_bits(published):
    found = verify()
    assert found.text().startswith(
        "quick reproduced beside seeds 0, 1 of reports/published/quick: the same bits in all "
    )
    assert (found.other, found.numbers, found.code, found.left) == ([], [], [], [])
    assert {"evaluate/rss-0/metrics.json", "evaluate/rss-1/metrics.json"} <= set(found.same)
    assert len(found.same) == len(set(found.same))


def test_numbers_within_what_seeds_explain(published):
    change("rss-0", smallest=76.0)
    found = verify()
    assert found.other == ["evaluate/rss-0/metrics.json"]
    own = next(number for number in found.numbers if (number.of, number.metric) == ("rss", "pareto/smallest_top1"))
    # pooled over DεpS 0, RSS 2 and the smallest alone 0.5 (of 78 and 79), of two seeds each
    bound = t.ppf(1 - 0.025 / len(found.numbers), 3) * (2.5 / 3) ** 0.5
    assert own == ("rss", "pareto/smallest_top1", 76.0, 76.5, pytest.approx(bound))
    assert {number.of for number in found.numbers} == {
        *("deps", "rss", "full_model", "smallest_alone", "logistic_regression"),
    }
    count = len(found.numbers)
    assert f"{count} of {count} numbers within seed noise, {count - 1} equal; " in found.text()
    assert found.holds


def test_one_of_the_published_seeds_is_compared_with_itself(published):
    select(seeds=[1], methods=["rss"])
    change("rss-1", smallest=77.25)
    found = verify()
    assert found.beside == "seed 1 of reports/published/quick"
    own = next(number for number in found.numbers if (number.of, number.metric) == ("rss", "pareto/smallest_top1"))
    assert own[2:4] == (77.0, 77.25)
    assert "deps" not in {number.of for number in found.numbers}


def test_a_number_that_seeds_do_not_explain(published):
    change("rss-0", smallest=25.0)
    found = verify()
    assert [(number.of, number.metric) for number in found.numbers if not number.holds] == [
        ("rss", "pareto/smallest_top1")
    ]
    assert "quick NOT reproduced beside seeds 0, 1" in found.text()


def test_other_code_is_named_and_numbers_are_compared_all_the_same(published, monkeypatch):
    monkeypatch.setattr(collecting, "code_of", lambda stage, method=None: f"later {stage}")
    found = verify()
    assert {"train/deps", "evaluate", "full_model", "reference"} <= set(found.code)
    assert found.holds


def test_files_of_another_form_with_equal_numbers_are_reproduced(published):
    path = Path("runs/quick/train/rss-0/summary.json")
    write_json(path, read_json(path) | {"later_key": 1.0})
    write_lock(published)
    found = verify()
    assert found.other == ["train/rss-0/summary.json"]
    assert found.holds
    assert "numbers within seed noise, all equal; " in found.text()


def test_another_experiment_is_refused(published):
    params = read_params()
    params["experiments"]["quick"]["methods"]["rss"]["learning_rate_ratio"] = 0.5
    Path("params.yaml").write_text(yaml.dump(params))
    expected = r"^reports/published/quick and what is here differ in params methods\.rss\.learning_rate_ratio .*another"
    with pytest.raises(UserError, match=expected):
        verify()


def test_what_is_not_finished_is_left_out_or_refused(published):
    expected = "seed 0 of reports/published/quick (seed 1 is not finished here)"
    assert verify("evaluate@quick-deps-1").beside == expected
    with pytest.raises(UserError, match=r"^seed 0 of quick is not finished: evaluate@quick-deps-0 has not run"):
        verify("evaluate@quick-deps-0", "evaluate@quick-deps-1")


def test_seeds_that_are_not_published_are_refused(published):
    select(seeds=[7])
    with pytest.raises(UserError, match=r"selects no published seed of quick; reports/published/quick has 0, 1$"):
        verify()


def test_one_published_seed_says_nothing_of_numbers_that_differ(published):
    for path in (PUBLISHED / "quick/seed-1").iterdir():
        path.unlink()
    (PUBLISHED / "quick/seed-1").rmdir()
    assert verify().beside == "seed 0 of reports/published/quick"
    change("rss-0", smallest=75.25)
    with pytest.raises(
        UserError, match=r"^numbers differ, and with 1 seed in reports/published/quick too little is known"
    ):
        verify()


def test_a_seed_without_what_was_trained_alone_is_not_left_out_in_silence(published):
    shutil.rmtree(PUBLISHED / "quick/seed-1")
    list(publish(read_params(), "quick", [1], lambda names: {"reference@quick"}.intersection(names)))
    change("rss-1", smallest=40.0)
    with pytest.raises(UserError, match=r"published/quick: stage reference has not run for seed 1; nothing can be"):
        verify()


def test_the_command_takes_published_seeds_where_the_commit_has_none(published, monkeypatch):
    for name in ("_changed", "_unfinished"):
        monkeypatch.setattr(import_module("dεps.cli.verify"), name, lambda names: set())
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").write_text("stages: {}")
    git("init", "-q")
    git("add", "dvc.lock", "reports/published")
    git("commit", "-qm", "published")
    Path("dvc.lock").write_text(lock)
    done = CliRunner().invoke(main, ["verify"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("quick reproduced beside seeds 0, 1 of reports/published/quick: the same bits in all")
    assert "git status shows dvc.lock" in lines[-1]
    assert "the commit's are of other experiments, methods or seeds; to take the commit's back:" in lines[-1]
    git("commit", "-qam", "results")
    done = CliRunner().invoke(main, ["verify"])
    assert done.output.startswith("quick reproduced: the same bits in all")
