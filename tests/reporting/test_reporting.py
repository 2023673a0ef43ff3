import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dεps.files import write_json
from dεps.reporting import tuning
from dεps.reporting.figures import FIGURES
from dεps.reporting.kinds import kinds
from dεps.reporting.results import Results, all_results
from dεps.reporting.style import METHODS, colours, label
from dεps.reporting.tables import caption, latex, markdown, spread, summary
from pipelines import report
from tests.conftest import default_params, made_up_manifest
from tests.tuning.tables import write_study


@pytest.fixture
def results(tmp_path, monkeypatch) -> Results:
    """Made-up results of two methods and two seeds in the files that stages write."""
    monkeypatch.chdir(tmp_path)
    params = default_params() | {"methods": ["deps", "rss"], "seeds": [0, 1]}
    Path("params.yaml").write_text(yaml.dump(params))
    rng = np.random.default_rng(0)
    write_json(Path("data/quick/manifest.json"), made_up_manifest())
    runs = Path("runs/quick")
    write_json(
        runs / "reference/metrics.json",
        {
            "reference/full_model_top1": 84.0,
            "reference/full_model_top1_std": 0.5,
            "reference/logistic_regression_top1": 81.25,
        },
    )
    alone = {"standalone": "smallest", "name": "smallest", "arch": "a", "macs": 1_000_000, "params": 9}
    (runs / "reference").mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{**alone, "seed": seed, "test_top1": 78.0 + seed} for seed in (0, 1)]).to_csv(
        runs / "reference/standalone.csv", index=False
    )
    for seed in (0, 1):
        write_json(runs / f"standalone/smallest-{seed}/summary.json", {"cost/train_tmacs": 0.1})
        for number, method in enumerate(("full_model", "deps", "rss")):
            folder = runs / ("full_model/" + str(seed) if method == "full_model" else f"train/{method}-{seed}")
            folder.mkdir(parents=True)
            phases = ["full model"] * 2 + (["shrinking"] * 2 if method == "deps" else ["full model"] * 2)
            records = [
                {
                    "epoch": e + 1,
                    "phase": "random subnets" if method == "rss" else phases[e],
                    "cost/train_tmacs": 0.1 * (e + 1),
                    **({} if method == "rss" else {"train/loss_full": 1.0}),
                    **({"train/subnet_weight": 1.0} if method == "rss" or phases[e] == "shrinking" else {}),
                    "val/largest_top1": 60.0 + 5 * e + seed,
                    "val/smallest_top1": 40.0 + 9 * e,
                }
                for e in range(4)
            ]
            (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
            if method == "full_model":
                continue
            write_json(folder / "summary.json", {"cost/train_tmacs": 0.4})
            name = f"{method}-{seed}"
            for stage in ("evaluate", "predict", "search"):
                (runs / stage / name).mkdir(parents=True)
            macs = np.array([1, 1, 2, 3, 4]) * 1e6
            points = pd.DataFrame(
                {"name": ["smallest", "D1", "D2", "D3", "D4"], "arch": "a", "macs": macs, "params": 9}
            )
            points.assign(val_top1=70.0, test_top1=70.0 + number + seed + macs / 1e6).to_csv(
                runs / "evaluate" / name / "pareto.csv", index=False
            )
            population = pd.DataFrame(
                {"bucket": [0, 0, 1, 1], "arch": "a", "macs": [1e6, 1.1e6, 2e6, 2.2e6], "params": 9}
            )
            population.assign(val_top1=70.0, test_top1=70 + rng.normal(size=4)).to_csv(
                runs / "evaluate" / name / "population.csv", index=False
            )
            pd.DataFrame({"arch": "a", "macs": [1, 2], "measured": [70.0, 71.0], "predicted": [70.5, 70.9]}).to_csv(
                runs / "predict" / name / "predictions.csv", index=False
            )
            pd.DataFrame(
                {
                    "arch": "a",
                    "macs": [1e6, 2e6, 3e6],
                    "params": 9,
                    "predicted": [70, 71, 72],
                    "measured": [69.0, None, 71],
                }
            ).to_csv(runs / "search" / name / "front.csv", index=False)
            write_json(
                runs / "evaluate" / name / "metrics.json",
                {"pareto/mean_top1": 80.0 + seed, "pareto/smallest_top1": 75.0, "pareto/largest_top1": 83.0},
            )
            write_json(runs / "predict" / name / "metrics.json", {"predictor/kendall_tau": 0.5})
            write_json(runs / "search" / name / "metrics.json", {"search/front_size": 3})
    return all_results(params)[0]


def test_the_table_shows_mean_and_spread_over_seeds(results):
    table = summary(results)
    assert table.method.tolist() == [
        "DεpS",
        "RSS",
        "full model alone",
        "smallest trained alone",
        "logistic regression",
    ]
    assert table["mean Pareto top-1 (%)"].tolist() == ["80.50 ± 0.50", "80.50 ± 0.50", "–", "–", "–"]
    assert table["largest (%)"].tolist()[2:] == ["84.00 ± 0.50", "–", "81.25"]
    assert table["smallest (%)"].tolist()[2:] == ["–", "78.50 ± 0.50", "–"]
    assert table["training (TMACs)"].tolist()[2:] == ["0.400", "0.100", "–"]
    assert "2 seeds" in caption(results)


def test_another_arch_trained_alone_has_a_column_of_its_own(results):
    path = Path("runs/quick/reference/standalone.csv")
    pd.read_csv(path).assign(name="D2").to_csv(path, index=False)
    table = summary(results).set_index("method")
    assert table.loc["D2 trained alone", "this arch (%)"] == "78.50 ± 0.50"
    assert table.loc["D2 trained alone", "smallest (%)"] == "–"


def test_tables_in_markdown_and_latex(results):
    table = summary(results)
    lines = markdown(table, "Title").splitlines()
    assert lines[2].startswith("| method | mean Pareto top-1 (%) |")
    assert len(lines) == 4 + len(table)
    tex = latex(table, "50 % of it")
    assert r"\caption{50 \% of it}" in tex
    assert r"80.50 $\pm$ 0.50" in tex
    assert tex.count(r"\\") == 1 + len(table)


def test_spread_of_one_value_is_the_value():
    assert spread(pd.Series([1.234]), 2) == "1.23"
    assert spread(pd.Series([1.0, 3.0]), 1) == "2.0 ± 1.0"


@pytest.mark.parametrize("kind", FIGURES, ids=lambda kind: kind.name)
def test_every_figure_names_its_seeds_and_axes(results, kind):
    (axes,) = kind.draw(results).axes
    assert "2 seeds" in axes.get_title(loc="left")
    assert axes.get_xlabel()


def test_the_pareto_figure_shows_means_over_seeds(results):
    (axes,) = next(kind for kind in FIGURES if kind.name == "pareto").draw(results).axes
    line = next(line for line in axes.lines if line.get_label() == "DεpS")
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert line.get_ydata().tolist() == pytest.approx([72.5, 73.5, 74.5, 75.5])
    diamond = next(line for line in axes.lines if line.get_marker() == "D")
    assert (diamond.get_xdata().tolist(), diamond.get_ydata().tolist()) == ([1], [78.5])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "DεpS",
        "RSS",
        "trained alone",
        "full model alone",
    ]
    low, high = axes.get_ylim()
    assert all(low < y < high for line in axes.lines for y in line.get_ydata())  # the full model's star too


def test_published_points_stand_beside_ours_where_data_and_space_are_the_papers(results):
    draw = next(kind for kind in FIGURES if kind.name == "pareto").draw
    assert "published (±0.05)" not in [text.get_text() for text in draw(results).axes[0].get_legend().get_texts()]
    results.params["dataset"]["name"], results.params["space"]["name"] = "cifar10", "mbv3_32"
    (axes,) = draw(results).axes
    assert "published (±0.05)" in [text.get_text() for text in axes.get_legend().get_texts()]
    (published,) = [line for line in axes.lines if line.get_linestyle() == "--"]  # of DεpS; there are none of RSS
    assert published.get_color() == colours(["deps"])["deps"]
    assert published.get_markerfacecolor() == "none"
    assert published.get_ydata()[0] == 94.27


def test_the_timeline_is_drawn_from_records_and_params(results):
    (axes,) = next(kind for kind in FIGURES if kind.name == "timeline").draw(results).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["full model", "DεpS", "RSS"]
    wedge = axes.collections[0].get_paths()[0].vertices
    assert wedge[:, 0].min() == 2
    assert 2.5 in wedge[:, 0]  # ramp_epochs


def test_the_stage_writes_the_same_bytes_twice(results):
    report.main()
    first = {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()}
    report.main()
    assert {path: path.read_bytes() for path in Path("reports").rglob("*") if path.is_file()} == first
    assert {path.suffix for path in first} == {".svg", ".png", ".md", ".tex", ".html"}


def test_the_page_needs_nothing_else(results):
    report.main()
    page = Path("reports/index.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert page.count("<svg") == len(FIGURES)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', page))
    assert used <= set(identifiers)


def test_missing_results_are_named(results):
    from dεps.errors import UserError

    path = Path("runs/quick/evaluate/rss-1/pareto.csv")
    path.unlink()
    with pytest.raises(UserError, match=r"rss-1/pareto\.csv cannot be read.*dvc repro"):
        report.main()


@pytest.mark.parametrize("file", ["reference/standalone.csv", "standalone/smallest-1/summary.json"])
def test_missing_results_of_an_arch_trained_alone_are_named(results, file):
    from dεps.errors import UserError

    (Path("runs/quick") / file).unlink()
    with pytest.raises(UserError, match=f"{file} cannot be read"):
        report.main()


def test_every_method_has_its_own_colour():
    assert len(set(colours([*METHODS, "mine", "other"]).values())) == len(METHODS) + 2
    assert (label("deps"), label("mine")) == ("DεpS", "mine")


def test_a_study_has_figures_of_its_own(results, tmp_path):
    assert kinds(results) == FIGURES
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    assert len(kinds(results)) == len(FIGURES) + 7
    report.main()
    page = Path("reports/index.html").read_text()
    assert page.count("<svg") == len(FIGURES) + 7
    assert "Study: shrink start" in page
    assert (Path("reports/experiments/quick") / "tuning_front.png").exists()
    assert "best of the study" in Path("reports/experiments/quick/study.md").read_text()


def test_figures_of_a_study_hold_its_numbers(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    (starts,) = tuning.shrink_start(results).axes
    mean = next(line for line in starts.lines if line.get_label() == "mean Pareto")
    assert mean.get_xydata().tolist() == [[25.0, 78.25], [50.0, 79.5], [75.0, 78.25]]
    left, right = tuning.ramp(results).axes
    assert [bar.get_height() for bar in right.patches] == pytest.approx([0.5] * 3)
    assert left.lines[0].get_xdata()[0] == 1  # the trunk's epochs come first
    assert [bar.get_height() for bar in tuning.distillation(results).axes[1].patches] == pytest.approx([2.0] * 3)


def test_a_study_without_pairs_says_so(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), points=[], trials=3)
    for kind in tuning.FIGURES:
        kind.draw(results)
    (left, _) = tuning.ramp(results).axes
    assert left.texts[0].get_text() == "the study has no such pair of trials"


def test_pruned_trials_end_in_a_cross(results, tmp_path):
    changes = {"objectives": ["accuracy"], "pruner": "asha", "pruner_from": 0.125, "trials": 16}
    write_study(tmp_path / "study", Path("runs/quick/tune"), **changes)
    (axes,) = tuning.intermediate(results).axes
    crosses = sum(line.get_marker() == "x" for line in axes.lines)
    assert crosses == (results.trials.state == "pruned").sum() > 0
    for kind in tuning.FIGURES:
        kind.draw(results)
