"""Stage `evaluate`: Pareto points and a population of random archs, on validation and, for the record, on test.

It reads test data, as `reference` and `export` do; nothing chooses by its test columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.files import write_json
from dεps.core.randomness import python_rng
from dεps.core.tables import matching
from dεps.evaluation.accuracy import (
    EvaluateConfig,
    accuracies,
    measured,
    named_archs,
)
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.evaluation.measure import measure_each
from dεps.evaluation.population import sample_population
from dεps.nets.files import has_ema, load_supernet
from dεps.spaces.cost import macs_counter
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.outputs import METRICS, PARETO, POPULATION, SUPERNET, evaluated
from dεps.workspace.stage import Context, run
from dεps.workspace.tables import weights_stamp

#: columns of the Pareto points, of the moving average of the weights
EMA = ("ema_val_top1", "ema_test_top1")


def work(context: Context, out: Path) -> None:
    """Write `pareto.csv`, `population.csv` and `metrics.json`."""
    set_up()
    config, space, data = (
        context.section(EvaluateConfig, "evaluate"),
        context.section(SearchSpace, "space"),
        load_data(context),
    )
    weights = context.folder("train") / SUPERNET
    net = load_net(weights, data, context).to(best_device())
    images = recalibration(context, data, config.recalibration_images)
    macs_of = macs_counter(space, len(data.classes), data.channels)
    # One population for all methods of a seed, but for a method that trains only a part of the space.
    rng = python_rng(context.the_seed, "population")
    population = sample_population(space, macs_of, config.population, rng, net.choices)
    archs = [("pareto", name, arch) for name, arch in named_archs(net.choices).items()]
    archs += [("population", str(bucket), arch) for bucket, arch in population]
    splits = {"val": data.validation, "test": data.test}
    points = set(named_archs(net.choices).values())
    averaged = load_supernet(weights, ema=True).to(best_device()) if has_ema(weights) else None

    def measure(some: Sequence[Arch]) -> list[dict[str, Any]]:
        rows = measured(net, some, data, splits, images)
        if averaged is not None and (own := [arch for arch in some if arch in points]):
            both = [data.validation, data.test]
            for arch, top1s in zip(own, accuracies(averaged, own, data, both, images), strict=True):
                found = zip(EMA, top1s, strict=True)
                rows[some.index(arch)] |= {name: round(top1, 4) for name, top1 in found}
        return rows

    rows = measure_each(
        context,
        weights,
        data.manifest,
        images,
        [arch for _, _, arch in archs],
        measure,
    )
    table = pd.DataFrame({"kind": kind, "group": group, **rows[arch]} for kind, group, arch in archs)
    table["weights"] = weights_stamp(weights)
    pareto = matching(table, kind="pareto").drop(columns="kind").rename(columns={"group": "name"})
    buckets = (
        matching(table, kind="population")
        .drop(columns=["kind", *EMA], errors="ignore")
        .rename(columns={"group": "bucket"})
    )
    # The arch with the smallest kernels is measured beside the points: the sandwich trains it in every step.
    pareto.insert(1, "pareto", pareto.name.isin(net.choices.pareto_archs()))
    PARETO.write(pareto, out)
    POPULATION.write(buckets, out)
    metrics = evaluated(matching(pareto, pareto=True), buckets)
    write_json(out / METRICS, metrics)
    say(
        f"{context.label}: test top-1 mean {metrics['pareto/mean_top1']:.2f} %, "
        f"smallest {metrics['pareto/smallest_top1']:.2f} %, largest {metrics['pareto/largest_top1']:.2f} %"
    )


if __name__ == "__main__":
    run("evaluate", work, ("experiment", "method", "seed"))
