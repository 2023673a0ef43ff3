import subprocess
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from scipy.stats import t

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.core.files import read_json, write_json
from dεps.core.hashing import md5
from dεps.core.params import read_params
from dεps.report.numbers import write_numbers
from dεps.report.results import all_results
from dεps.report.verify.commit import verify
from dεps.report.verify.git import git_status
from dεps.report.verify.verification import Number, Verification

FOLDER = Path("reports/experiments/quick")
METRICS = Path("runs/quick/evaluate/{}/metrics.json")


def git(*arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def write_lock(**code: str) -> None:
    """What DVC notes of each stage whose metrics are there."""
    stages = {}
    for path in sorted(Path("runs/quick/evaluate").glob("*/metrics.json")):
        stages[f"evaluate@quick-{path.parent.name}"] = {
            "deps": [{"path": path, "md5": hashed} for path, hashed in {"dεps/nets": "1", **code}.items()],
            "params": {"params.yaml": {"experiments.quick.evaluate": {"recalibration_images": 600}}},
            "outs": [{"path": path.as_posix(), "md5": md5(path)}],
        }
    stages["prepare@other"] = {"outs": [{"path": "runs/other/prepare", "md5": "x"}]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def change(instance: str, **values: float) -> None:
    path = Path(str(METRICS).format(instance))
    write_json(path, read_json(path) | {f"pareto/{name}_top1": value for name, value in values.items()})


def now():
    return all_results(read_params())[0]


@pytest.fixture
def committed(results):
    """The made-up results of two seeds, committed: smallest top-1 of 75 and 77 of RSS, 75 and 75 of DεpS."""
    change("rss-1", smallest=77.0)
    FOLDER.mkdir(parents=True)
    write_numbers(now(), FOLDER)
    write_lock()
    git("init", "-q")
    git("add", "dvc.lock", "reports")
    git("commit", "-qm", "results")
    return now()


def test_the_same_bits(committed):
    found = verify(committed)
    assert (len(found.same), found.other, found.numbers, found.code) == (4, [], [], [])
    assert found.holds
    assert found.text() == "quick reproduced: the same bits in all 4 result files"


def allowed(std: float, freedom: int, compared: int, seeds: int) -> float:
    return t.ppf(1 - 0.025 / compared, freedom) * std * (2 / seeds) ** 0.5


def test_numbers_within_what_seeds_explain(committed):
    change("rss-0", smallest=76.0)
    write_lock()
    found = verify(now())
    assert found.other == ["runs/quick/evaluate/rss-0/metrics.json"]
    expected = "15 of 15 numbers within seed noise, 14 equal; 3 of 4 result files are the same bits"
    assert found.text() == f"quick reproduced: {expected}"
    own = next(number for number in found.numbers if (number.of, number.metric) == ("rss", "pareto/smallest_top1"))
    # pooled over DεpS 0, RSS 2 and the smallest alone 0.5, of two seeds each
    assert own == ("rss", "pareto/smallest_top1", 76.0, 76.5, pytest.approx(allowed((2.5 / 3) ** 0.5, 3, 15, 2)))
    assert own.holds


def test_a_number_that_seeds_do_not_explain(committed):
    change("rss-0", smallest=25.0)
    write_lock()
    found = verify(now())
    assert not found.holds
    assert found.text().startswith("quick NOT reproduced: 14 of 15 numbers within seed noise")
    assert [(number.of, number.metric) for number in found.numbers if not number.holds] == [
        ("rss", "pareto/smallest_top1")
    ]


def test_training_cost_depends_on_no_rounding(committed):
    change("rss-0", smallest=75.1)
    write_lock()
    write_json(Path("runs/quick/train/rss-0/summary.json"), {"cost/train_tmacs": 0.41})
    found = verify(now())
    assert [(number.of, number.metric) for number in found.numbers if not number.holds] == [("rss", "cost/train_tmacs")]


def test_the_spread_beside_one_committed_seed_is_that_of_published_ones(committed, monkeypatch):
    one = replace(now(), seeds=[0])
    write_numbers(one, FOLDER)
    git("commit", "-qam", "one seed")
    change("rss-0", smallest=75.5)
    write_lock()
    with pytest.raises(UserError, match=r"the commit has few seeds of quick, and so has reports/published/: nothing"):
        verify(replace(now(), seeds=[0]))
    published = now()  # two seeds: 75 and 75 of DεpS, 75.5 and 77 of RSS
    monkeypatch.setattr(
        "dεps.report.verify.commit.published_results", lambda: [replace(published, experiment="other"), published]
    )
    found = verify(replace(now(), seeds=[0]))
    own = next(number for number in found.numbers if (number.of, number.metric) == ("rss", "pareto/smallest_top1"))
    assert own.allowed == pytest.approx(allowed((1.125 / 2) ** 0.5, 2, 15, 1))
    assert found.holds


def test_a_run_without_its_numbers_is_not_reproduced(committed):
    """As after an interrupted run, whose dvc.lock is still the commit's."""
    Path("runs/quick/evaluate/rss-1/metrics.json").unlink()
    with pytest.raises(UserError, match=r"^runs/quick/evaluate/rss-1/metrics.json is not here, so that quick is not w"):
        verify(committed)
    assert verify(replace(committed, methods=["deps"])).holds


def test_other_images_are_another_experiment(committed):
    path = Path("runs/quick/prepare/manifest.json")

    def note(value: str) -> None:
        own = yaml.safe_load(Path("dvc.lock").read_text())
        own["stages"]["prepare@quick"] = {"outs": [{"path": path.as_posix(), "md5": value}]}
        Path("dvc.lock").write_text(yaml.safe_dump(own))

    note("another")
    git("commit", "-qam", "of other images")
    note(md5(path))
    with pytest.raises(UserError, match=r"^runs/quick/prepare/manifest.json is not the commit's: with other images"):
        verify(now())


def test_stages_of_which_no_number_is_compared_are_named():
    paths = ["runs/quick/evaluate/rss-0/metrics.json", "runs/quick/tune/trials.csv", "search/deps-0/front.csv"]
    one = Verification("quick", [], paths, [], [Number("rss", "pareto/mean_top1", 70.0, 71.0, 2.0)])
    assert one.unjudged == ["search", "tune"]
    assert one.text().endswith("; what differs in search, tune is no number of these")


def test_edges_of_what_is_allowed():
    assert Number("a", "m", 70.0, 71.0, 1.0).holds
    assert Number("a", "m", 70.0, 69.0, 1.0).holds
    assert not Number("a", "m", 70.0, 68.9, 1.0).holds


def test_other_code_is_named(committed):
    write_lock(**{"dεps/nets": "2"})
    found = verify(committed)
    assert found.code == ["dεps/nets"]
    assert found.holds


def test_other_params_are_another_experiment(committed):
    text = Path("dvc.lock").read_text().replace("recalibration_images: 600", "recalibration_images: 500")
    Path("dvc.lock").write_text(text)
    key = r"experiments\.quick\.evaluate\.recalibration_images"
    with pytest.raises(UserError, match=rf"^{key} is not the commit's, so that quick is another experiment"):
        verify(committed)


def test_results_that_are_not_those_of_the_lock_are_stale(committed):
    change("deps-0", smallest=1.0)
    with pytest.raises(UserError, match=r"deps-0/metrics\.json is not what dvc\.lock says; 'dvc repro' makes it"):
        verify(committed)


def test_nothing_to_compare_with_is_one_line(committed, tmp_path):
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-qm", "no lock")
    with pytest.raises(UserError, match=r"the commit has no dvc\.lock, to compare with"):
        verify(committed)
    git("add", "dvc.lock")
    git("rm", "-qr", "--cached", "reports")
    git("commit", "-qm", "no numbers")
    change("rss-0", smallest=76.0)
    write_lock()
    with pytest.raises(UserError, match=r"the commit has no reports/experiments/quick/numbers\.csv"):
        verify(now())
    Path("dvc.lock").write_text("stages: {}")
    git("commit", "-qam", "empty")
    with pytest.raises(UserError, match=r"the commit has no results of quick in dvc\.lock"):
        verify(now())


def test_results_older_than_the_code_are_not_compared(committed):
    asked = []

    def changed(names):
        asked.extend(names)
        return {"evaluate@quick-rss-0", "evaluate@quick-rss-1"}

    expected = (
        r"^code, params or data have changed since evaluate@quick-rss-0 and 1 more ran, so that results of quick are "
        r"not those of what is here; 'dvc repro' makes it$"
    )
    with pytest.raises(UserError, match=expected):
        verify(committed, changed)
    assert sorted(asked) == [f"evaluate@quick-{name}" for name in ("deps-0", "deps-1", "rss-0", "rss-1")]


def test_what_was_not_compared_is_counted(committed):
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    lock["stages"]["train@quick-rss-0"] = {"outs": [{"path": "runs/quick/train/rss-0/weights", "md5": "1"}]}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    git("commit", "-qam", "with weights")
    expected = "the same bits in 4 result files; not compared, since not here or not in the commit: 1 file"
    assert verify(committed).text() == f"quick reproduced: {expected}"


def test_what_git_status_shows_is_said_with_the_reason(committed):
    assert git_status([verify(now())]) == "git status: dvc.lock and reports/ are as committed"
    change("rss-0", smallest=76.0)
    write_lock()
    (FOLDER / "results.md").write_text("new")
    text = git_status([verify(now())])
    assert text.startswith(
        "git status shows dvc.lock and 1 path of reports/: results differ, as they do on another kind of CPU"
    )
    cure = "; to take the commit's back: git checkout dvc.lock reports"
    assert text.endswith(f"{cure} && git clean -fd reports/experiments reports/figures")  # a new file is untracked
    git("add", "-N", str(FOLDER / "results.md"))
    assert git_status([verify(now())]).endswith(cure)
    write_lock(**{"dεps/nets": "2"})
    assert "the commit's were made with other code" in git_status([verify(now())])
    git("checkout", "dvc.lock")
    assert git_status([]).startswith("git status shows 1 path of reports/: code, params or the kind of CPU are not")


def test_the_command_says_it_in_words_and_by_its_exit_code(committed, monkeypatch):
    monkeypatch.setattr(import_module("dεps.cli.verify"), "_changed", lambda names: set())

    def run(*arguments: str):
        return CliRunner().invoke(main, ["verify", *arguments])

    done = run("quick")
    same = "quick reproduced: the same bits in all 4 result files\ngit status: dvc.lock and reports/ are as committed\n"
    assert (done.exit_code, done.output) == (0, same)
    change("rss-0", smallest=25.0)
    write_lock()
    done = run()
    assert done.exit_code == 1
    assert "NOT reproduced" in done.output.splitlines()[-2]
    assert done.output.splitlines()[-1].startswith("git status shows dvc.lock: results differ, as they do on")
    assert "off" in done.output
    done = run("mine")
    assert done.exit_code == 2
    assert "experiment is 'mine'; allowed: quick" in done.output
