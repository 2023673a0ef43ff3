"""Made-up results of two methods and two seeds in the files that stages write."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from dεps.core.files import output_folder, write_json
from dεps.core.params import read_params
from dεps.core.tensors import save_tensors
from dεps.evaluation.accuracy import named_archs
from dεps.report.results import Results, all_results
from dεps.report.tables import EXPERIMENTS
from dεps.workspace.outputs import CLASSES, CONFUSION, EXAMPLES, PICTURES
from dεps.workspace.stage import Context
from pipelines import page, report
from tests.conftest import load_space, made_up_manifest, quick_params

#: archs of `mbv3_micro`
SEARCHED = [
    "k3e2_k3e2_k3e2_r28",
    "k5e3-k3e4_k3e2_k5e4-k3e2-k3e3_r28",
    "k5e4-k5e4-k5e4_k5e4-k5e4-k5e4_k5e4-k5e4-k5e4_r28",
]


def write_results(root: Path, seeds: tuple[int, ...] = (0, 1)) -> dict:
    """All of them below `root`; returns the params."""
    params = quick_params() | {"methods": ["deps", "rss"], "seeds": [*seeds]}
    (root / "params.yaml").write_text(yaml.dump(params))
    rng = np.random.default_rng(0)
    write_json(root / "runs/quick/prepare/manifest.json", made_up_manifest())
    runs = root / "runs/quick"
    write_json(
        runs / "reference/metrics.json",
        {
            "reference/full_model_top1": 84.0,
            "reference/full_model_top1_std": 0.5,
            "reference/logistic_regression_top1": 81.25,
        },
    )
    for seed in seeds:
        write_json(runs / f"reference/full_model/{seed}.json", {"pareto/largest_top1": 83.5 + seed})
    alone = {"standalone": "smallest", "name": "smallest", "arch": "a", "macs": 1_000_000, "params": 9}
    (runs / "reference").mkdir(parents=True, exist_ok=True)
    pd.DataFrame([{**alone, "seed": seed, "test_top1": 78.0 + seed} for seed in seeds]).to_csv(
        runs / "reference/standalone.csv", index=False
    )
    for seed in seeds:
        write_json(runs / f"standalone/smallest-{seed}/summary.json", {"cost/train_tmacs": 0.1})
        for number, method in enumerate(("full_model", "deps", "rss")):
            folder = runs / ("full_model/" + str(seed) if method == "full_model" else f"train/{method}-{seed}")
            folder.mkdir(parents=True)
            phases = ["full model"] * 2 + (["shrinking"] * 2 if method == "deps" else ["full model"] * 2)
            records = [
                {
                    "epoch": e + 1,
                    "step": 10 * (e + 1),
                    **({"phases": {"random subnets" if method == "rss" else "full model": 0.0}} if e == 0 else {}),
                    **({"phases": {"shrinking": 2.0}} if e == 2 and method == "deps" else {}),
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
            archs = named_archs(load_space("mbv3_micro"))
            macs = np.array([1, 2, 3, 4, 5, 6, 0.9]) * 1e6
            points = pd.DataFrame({"name": archs.keys(), "arch": map(str, archs.values()), "macs": macs, "params": 9})
            points.insert(1, "pareto", [True] * 6 + [False])
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
                    "arch": SEARCHED,
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
            taus = {"": 0.5, "macs_": 0.25, "ceiling_": 0.75}
            taus = {f"predictor/{key}kendall_tau": tau for key, tau in taus.items()}
            taus |= {f"{key}_std": 0.1 for key in taus}
            write_json(runs / "predict" / name / "metrics.json", taus)
            write_json(runs / "search" / name / "metrics.json", {"search/front_size": 3})
    write_exports(runs / "export/deps-0", made_up_manifest()["classes"])
    return params


def write_exports(folder: Path, names: list[str]) -> None:
    """What stage `export` says of what its subnets get right, of as many classes as there are names."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"train": 70, "validation": 10, "test": 25, "val_top1": 50.0}
    rows = [
        {"budget": budget, "class": name, **facts, "test_top1": top1}
        for budget, least in (("small", 20.0), ("large", 60.0))
        for name, top1 in zip(names, np.linspace(least, least + 30, len(names)).round(4), strict=True)
    ]
    CLASSES.write(pd.DataFrame(rows), folder)
    pairs = [(name, name, 20) for name in names]
    pairs += [(name, other, 5) for name, other in zip(names, [*names[1:], names[0]], strict=True)]
    confused = pd.DataFrame(pairs, columns=["label", "answer", "images"])
    CONFUSION.write(confused.assign(budget="large"), folder)
    shown = {"image": [3, 4, 5], "probability": [0.9, 0.8, 0.2], "right": [False, False, True]}
    EXAMPLES.write(pd.DataFrame(shown | {"label": names[0], "answer": [names[1], names[1], names[0]]}), folder)
    save_tensors({"pictures": torch.zeros(3, 28, 28, 1, dtype=torch.uint8)}, folder / PICTURES)


def write_report() -> None:
    """What stages `report` and `page` write of the results in the working directory."""
    params = read_params()
    for name in params["names"]:
        with output_folder(EXPERIMENTS / name, Path(".state/scratch")) as out:
            report.work(Context("report", name, params=params), out)
    page.main()


@pytest.fixture
def results(tmp_path, monkeypatch) -> Results:
    """The same in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return all_results(write_results(tmp_path))[0]
