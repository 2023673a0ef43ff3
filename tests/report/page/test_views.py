"""The page of other results than two methods and two seeds: one method, six seeds, many experiments."""

import re
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from dεps.report import registry
from tests.report import made_up

LIMIT = 5_000_000


def page() -> str:
    made_up.write_report()
    return Path("reports/index.html").read_text("utf-8")


@pytest.fixture
def params(tmp_path, monkeypatch) -> dict:
    monkeypatch.chdir(tmp_path)
    return made_up.write_results(tmp_path)


def write(params: dict) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(params))


def test_one_method_and_seed_are_compared_with_nothing(params):
    write(params | {"methods": ["rss"], "seeds": [0]})
    text = page()
    assert "the only method here" in text
    assert "0.50 to 0.50" not in text
    assert 'id="quick-differences"' not in text
    assert 'id="quick-pareto"' in text


def test_six_seeds_have_intervals_of_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_up.write_results(tmp_path, tuple(range(6)))
    text = page()
    assert "± is the standard deviation (of a sample) over 6 seeds" in text
    rows = Path("reports/experiments/quick/pareto.csv").read_text().splitlines()
    assert "deps-0 deps-1 deps-2 deps-3 deps-4 deps-5" in rows[1]
    assert len(text) < LIMIT


def test_many_experiments_fit_one_page_and_fold_their_cards(params, monkeypatch):
    few = tuple(figure for figure in registry.registered() if figure.name in ("pareto", "curves", "cost"))
    monkeypatch.setattr(registry, "registered", lambda: few)  # all of them, eight times, take minutes to draw
    names = [f"e{number}" for number in range(8)]
    for name in names:
        shutil.copytree("runs/quick", f"runs/{name}")
    experiments = {name: deepcopy(params["experiments"]["quick"]) for name in names}
    write(params | {"names": names, "experiments": experiments})
    text = page()
    assert len(text) < LIMIT
    assert text.count('<details class="cards printed"><summary>DεpS, mean Pareto top-1 80.50 ± 0.71 %</summary>') == 8
    files = re.findall(r'href="(experiments/[^"]+\.pdf)"', text)  # too many to hold
    assert len(files) == text.count("<figure ") == 3 * 8
    assert all(Path("reports", file).exists() for file in files)


def test_few_experiments_are_open_and_hold_all_files(params):
    text = page()
    assert '<details class="cards printed" open>' in text
    assert not re.findall(r'href="experiments/[^"]+\.pdf"', text)
