"""Stage `reference`: test accuracy of the full model trained alone and of logistic regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dεps.baseline import ReferenceConfig, logistic_regression
from dεps.device import best_device, deterministic
from dεps.errors import UserError
from dεps.evaluation import accuracies, recalibration_indices
from dεps.experiment import load_data
from dεps.files import write_json
from dεps.identity import FULL_MODEL
from dεps.stage import Context, run
from dεps.supernet.files import load_supernet


def work(context: Context, out: Path) -> None:
    """Write `full_model/<seed>.json` for each seed of the full model, and `metrics.json`."""
    deterministic()
    config, data = context.section(ReferenceConfig, "reference"), load_data(context)
    top1 = []
    for seed in context.params["seeds"]:
        net = load_supernet(context.folder(FULL_MODEL, str(seed)) / "supernet.safetensors").to(best_device())
        indices = recalibration_indices(data.train, config.recalibration_images, seed)
        (test,) = accuracies(net, net.space.largest(), data, [data.test], indices)
        top1.append(test)
        write_json(out / "full_model" / f"{seed}.json", {"pareto/largest_top1": round(test, 4)})
    if not top1:
        raise UserError("seeds is empty; expected at least one number")
    baseline = logistic_regression(data, config)
    metrics = {
        "reference/full_model_top1": round(float(np.mean(top1)), 4),
        "reference/full_model_top1_std": round(float(np.std(top1)), 4),
        "reference/logistic_regression_top1": round(baseline, 4),
    }
    write_json(out / "metrics.json", metrics)
    print(
        f"{context.label}: full model {metrics['reference/full_model_top1']:.2f} % on test, "
        f"logistic regression {baseline:.2f} %"
    )


if __name__ == "__main__":
    run("reference", work)
