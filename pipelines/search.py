"""Stage `search`: NSGA-II on predicted accuracy and MACs; the winners are then measured on validation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.files import write_json
from dεps.core.randomness import derive
from dεps.evaluation.accuracy import accuracies
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.evaluation.measure import measure_each
from dεps.search.crossvalidation import agreement
from dεps.search.nsga2 import SearchConfig, search, spread
from dεps.search.predictor import PredictConfig, load_predictor, predict
from dεps.spaces.cost import arch_cost
from dεps.spaces.encoding import encode_genomes, macs_of_genomes, translate
from dεps.spaces.space import SearchSpace
from dεps.workspace.outputs import FRONT, METRICS, PREDICTOR, SUPERNET
from dεps.workspace.stage import Context, run
from dεps.workspace.tables import weights_stamp


def work(context: Context, out: Path) -> None:
    """Write `front.csv` (all archs found, the measured ones with both numbers) and `metrics.json`."""
    set_up()
    config, space, data = (
        context.section(SearchConfig, "search"),
        context.section(SearchSpace, "space"),
        load_data(context),
    )
    weights = context.folder("train") / SUPERNET
    path, stamp = context.folder("predict") / PREDICTOR, weights_stamp(weights)
    model = load_predictor(path, space, context.section(PredictConfig, "predict"), stamp)
    net = load_net(weights, data, context).to(best_device())
    # A method may have trained a part of the space only; predictor and cost know the whole.
    whole = translate(net.choices, space)
    macs_of = macs_of_genomes(space, len(data.classes), data.channels)
    found = search(
        net.choices,
        lambda genomes: predict(model, encode_genomes(space, whole(genomes))),
        lambda genomes: macs_of(whole(genomes)),
        config,
        derive(context.the_seed, "search") % 2**31,
    )
    chosen = spread(found, config.measured)
    images = recalibration(context, data, config.recalibration_images)
    measured = measure_each(
        context,
        weights,
        data.manifest,
        images,
        [arch for arch, _, _ in chosen],
        lambda some: [{"top1": round(top1, 4)} for (top1,) in accuracies(net, some, data, [data.validation], images)],
    )
    rows = [
        {
            "arch": str(arch),
            "macs": macs,
            "params": arch_cost(space, arch, len(data.classes), data.channels).params,
            "predicted": round(100 * predicted, 4),
            "measured": measured[arch]["top1"] if arch in measured else None,
            "weights": stamp,
        }
        for arch, predicted, macs in found
    ]
    table = pd.DataFrame(rows)
    FRONT.write(table, out)
    both = table.dropna()
    error = agreement(both.predicted / 100, both.measured / 100)
    metrics = {"search/front_size": len(table), "search/best_val_top1": float(both.measured.max())}
    write_json(out / METRICS, metrics | {f"search/{key}": value for key, value in error.items()})
    say(
        f"{context.label}: {len(table)} archs on the front, {len(both)} measured, "
        f"predicted off by {error['rmse_points']:.2f} points (RMSE)"
    )


if __name__ == "__main__":
    run("search", work, ("experiment", "method", "seed"))
