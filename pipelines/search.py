"""Stage `search`: NSGA-II on predicted accuracy and MACs; the winners are then measured on validation.

With `search.rounds` the predictor learns from them and the search goes on; with `search.latency` there is a second
front, of accuracy over the milliseconds of a latency table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.files import write_json
from dεps.evaluation import parallel
from dεps.evaluation.accuracy import accuracies
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.evaluation.measure import measure_each
from dεps.search.crossvalidation import agreement
from dεps.search.latency.table import given_table, latency_of_archs
from dεps.search.nsga2 import SearchConfig
from dεps.search.predictor import PredictConfig, load_predictor
from dεps.search.rounds import Found, search_in_rounds
from dεps.spaces.cost import arch_cost
from dεps.spaces.pareto import hypervolume
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.outputs import FRONT, METRICS, PREDICTIONS, PREDICTOR, SUPERNET
from dεps.workspace.stage import Context, run
from dεps.workspace.tables import stamp_of, weights_stamp


def work(context: Context, out: Path) -> None:
    """Write `front.csv` (all archs found, the measured ones with both numbers) and `metrics.json`."""
    set_up()
    config, predictor = context.section(SearchConfig, "search"), context.section(PredictConfig, "predict")
    space, data = context.section(SearchSpace, "space"), load_data(context)
    weights = context.folder("train") / SUPERNET
    path, stamp = context.folder("predict") / PREDICTOR, weights_stamp(weights)
    model = load_predictor(path, space, predictor, stamp)
    net = load_net(weights, data, context).to(best_device())
    images = recalibration(context, data, config.recalibration_images)
    classes, channels = len(data.classes), data.channels
    known = given_table(config, space, classes, channels, ".".join(context.keys("search")))

    def measure(archs: Sequence[Arch]) -> list[float]:
        top1s = measure_each(context, weights, data.manifest, images, archs, rows, last=config.rounds == 1)
        return [top1s[arch]["top1"] / 100 for arch in archs]

    def rows(some: Sequence[Arch]) -> list[dict[str, float]]:
        return [{"top1": round(top1, 4)} for (top1,) in accuracies(net, some, data, [data.validation], images)]

    found = search_in_rounds(
        net.choices,
        space,
        model,
        _learnt(context) if config.rounds > 1 else {},
        measure,
        config,
        predictor,
        classes=classes,
        channels=channels,
        seed=context.the_seed,
        latency_of=known and latency_of_archs(known, space, classes, channels),
    )
    parallel.leave()
    table = pd.DataFrame(
        {
            "arch": str(one.arch),
            "macs": one.macs,
            "params": one.params,
            "predicted": round(100 * one.predicted, 4),
            "measured": None if one.measured is None else round(100 * one.measured, 4),
            "round": one.round,
            "on_front": one.on_front,
            **({} if known is None else _by_latency(one, str(config.latency_sha256))),
            "weights": stamp,
        }
        for one in found
    ).astype({"round": "Int64"})
    FRONT.write(table, out)
    both = table.dropna(subset=["measured"])
    error = agreement(both.predicted / 100, both.measured / 100)
    most = arch_cost(space, space.largest(), classes, channels).macs
    metrics = {
        "search/front_size": int(table.on_front.sum()),
        "search/measured": len(both),
        "search/best_val_top1": float(both.measured.max()),
        "search/val_hypervolume": round(hypervolume(both.macs.tolist(), both.measured.tolist(), most), 4),
    }
    write_json(out / METRICS, metrics | {f"search/{key}": value for key, value in error.items()})
    rounds = f" in {both['round'].max()} rounds" if config.rounds > 1 else ""
    say(
        f"{context.label}: {metrics['search/front_size']} archs on the front, {len(both)} measured{rounds}, "
        f"predicted off by {error['rmse_points']:.2f} points (RMSE)"
    )


def _by_latency(one: Found, sha256: str) -> dict[str, object]:
    ms = None if one.ms is None else round(one.ms, 6)
    return {"ms": ms, "on_latency_front": one.on_latency_front, "latency_table": stamp_of(sha256)}


def _learnt(context: Context) -> dict[Arch, float]:
    """Accuracies on validation in [0, 1] of the archs that the predictor was fitted to."""
    table = PREDICTIONS.read(context.needed("predict", PREDICTIONS.file).parent)
    return {Arch.parse(arch): top1 / 100 for arch, top1 in zip(table.arch, table.measured, strict=True)}


if __name__ == "__main__":
    run("search", work, ("experiment", "method", "seed"))
