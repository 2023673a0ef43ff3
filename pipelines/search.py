"""Stage `search`: NSGA-II on predicted accuracy and MACs; the winners are then measured on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dεps.cost import arch_cost, macs_counter
from dεps.device import best_device, deterministic
from dεps.evaluation import recalibration_indices, top1
from dεps.experiment import load_data, load_net
from dεps.files import write_json
from dεps.measurement import measure_each
from dεps.predictor import PredictConfig, agreement, encode_genomes, load_predictor, predict
from dεps.randomness import derive
from dεps.search import SearchConfig, search, spread
from dεps.search_space import SearchSpace
from dεps.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write `front.csv` (all archs found, the measured ones with both numbers) and `metrics.json`."""
    deterministic()
    config, space, data = (
        context.section(SearchConfig, "search"),
        context.section(SearchSpace, "space"),
        load_data(context),
    )
    model = load_predictor(
        context.folder("predict") / "predictor.safetensors", space, context.section(PredictConfig, "predict")
    )

    weights = context.folder("train") / "supernet.safetensors"
    net = load_net(weights, data, space).to(best_device())
    choices = net.choices

    def score(genomes: np.ndarray) -> np.ndarray:
        if choices != space:
            genomes = np.array([space.to_genome(choices.from_genome(genome)) for genome in genomes])
        return predict(model, encode_genomes(space, genomes))

    seed = derive(context.seed, "search") % 2**31
    found = search(choices, score, macs_counter(space, len(data.classes), data.channels), config, seed)
    chosen = spread(found, config.measured)
    indices = recalibration_indices(data.train, config.recalibration_images, context.seed)
    measured = measure_each(
        context,
        weights,
        data.manifest,
        config.recalibration_images,
        [arch for arch, _, _ in chosen],
        lambda arch: {"top1": round(top1(net, arch, data, data.validation, indices), 4)},
    )
    rows = [
        {
            "arch": str(arch),
            "macs": macs,
            "params": arch_cost(space, arch, len(data.classes), data.channels).params,
            "predicted": round(100 * predicted, 4),
            "measured": measured[arch]["top1"] if arch in measured else None,
        }
        for arch, predicted, macs in found
    ]
    table = pd.DataFrame(rows)
    table.to_csv(out / "front.csv", index=False)
    both = table.dropna()
    error = agreement(both.predicted / 100, both.measured / 100)
    metrics = {"search/front_size": len(table), "search/best_val_top1": float(both.measured.max())}
    write_json(out / "metrics.json", metrics | {f"search/{key}": value for key, value in error.items()})
    print(
        f"{context.label}: {len(table)} archs on the front, {len(both)} measured, "
        f"predicted off by {error['rmse_points']:.2f} points (RMSE)"
    )


if __name__ == "__main__":
    run("search", work, ("experiment", "method", "seed"))
