"""Stage `reference`: test accuracy of what was trained alone (full model, archs) and of logistic regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.files import write_json
from dεps.core.params import selected
from dεps.data.splits import PreparedData
from dεps.evaluation.accuracy import top1
from dεps.evaluation.baseline import ReferenceConfig, logistic_regression
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.spaces.cost import arch_cost
from dεps.workspace.identity import FULL_MODEL, STANDALONE, standalone_method
from dεps.workspace.outputs import METRICS, SUPERNET
from dεps.workspace.outputs import STANDALONE as STANDALONE_TABLE
from dεps.workspace.stage import Context, run


def measure(
    context: Context, stage: str, instance: str, text: str, data: PreparedData, images: int, seed: int
) -> dict[str, Any]:
    """Name, cost and test top-1 (percent, unrounded) of the arch called `text` in a stage's supernet."""
    weights = context.folder(stage, instance) / SUPERNET
    method = stage if stage == FULL_MODEL else standalone_method(text)
    net = load_net(weights, data, context, method, seed).to(best_device())
    arch = net.space.named(text, STANDALONE)
    test = top1(net, arch, data, data.test, recalibration(context, data, images, seed))
    cost = arch_cost(net.space, arch, net.classes, net.channels)
    name = net.space.name_of(arch)
    return {"name": name, "arch": str(arch), "macs": cost.macs, "params": cost.params, "test_top1": test}


def mean_and_std(name: str, over_seeds: list[float]) -> dict[str, float]:
    """Mean and a sample's standard deviation over seeds, 0 of a single one, as metrics."""
    key, several = f"reference/{name}_top1", len(over_seeds) > 1
    std = float(np.std(over_seeds, ddof=1)) if several else 0.0
    return {key: round(float(np.mean(over_seeds)), 4), f"{key}_std": round(std, 4)}


def work(context: Context, out: Path) -> None:
    """Write `full_model/<seed>.json`, `standalone/<arch>-<seed>.json`, `standalone.csv` and `metrics.json`."""
    set_up()
    config, data, seeds = (
        context.section(ReferenceConfig, "reference"),
        load_data(context),
        selected(context.params, "seeds"),
    )

    def measured(stage: str, text: str, seed: int, instance: str) -> dict[str, Any]:
        row = measure(context, stage, instance, text, data, config.recalibration_images, seed)
        write_json(out / stage / f"{instance}.json", {f"pareto/{row['name']}_top1": round(row["test_top1"], 4)})
        return {"standalone": text, "seed": seed, **row}

    full = [measured(FULL_MODEL, "largest", seed, str(seed))["test_top1"] for seed in seeds]
    alone = selected(context.params, "standalone")
    rows = [measured(STANDALONE, text, seed, f"{text}-{seed}") for text in alone for seed in seeds]
    table = pd.DataFrame(rows)
    STANDALONE_TABLE.write(table, out)
    metrics = mean_and_std("full_model", full)
    for name, own in table.groupby("name", sort=False):
        metrics |= mean_and_std(f"{name}_alone", own.test_top1.tolist())
    baseline = logistic_regression(data, config)
    metrics["reference/logistic_regression_top1"] = round(baseline, 4)
    write_json(out / METRICS, metrics)
    shown = [
        f"{key.removeprefix('reference/').removesuffix('_top1')} {metrics[key]:.2f} %"
        for key in metrics
        if key.endswith("_top1")
    ]
    say(f"{context.label}: {', '.join(shown).replace('_', ' ')} on test")


if __name__ == "__main__":
    run("reference", work)
