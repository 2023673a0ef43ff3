"""The most accurate arch within a latency: search with the latency table as the cost, then measure the winners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from dεps.core.errors import UserError
from dεps.core.randomness import derive
from dεps.deploy.export.config import ExportConfig
from dεps.deploy.latency.command import table_for
from dεps.deploy.latency.table import measure_archs
from dεps.deploy.latency.timing import Conditions
from dεps.nets.supernet import Supernet
from dεps.search.latency.table import latency_of_archs
from dεps.search.nsga2 import SearchConfig, search
from dεps.search.predictor import PredictConfig, load_predictor, predict
from dεps.search.rounds import allowed
from dεps.spaces.encoding import encode_genomes, translate
from dεps.spaces.space import Arch
from dεps.workspace.outputs import PREDICTOR, SUPERNET
from dεps.workspace.stage import Context
from dεps.workspace.tables import weights_stamp

#: so many times as many archs as are asked for are measured until one is fast enough
ATTEMPTS = 4


@dataclass(frozen=True)
class Fast:
    """An arch with its latency."""

    arch: Arch
    limit_ms: float
    measured_ms: float
    predicted_ms: float
    #: what was measured
    of: str
    conditions: Conditions
    table: str
    table_median_error_percent: float


def fastest_enough(
    context: Context,
    net: Supernet,
    limit: float,
    conditions: Conditions,
    table: Path | None,
    validate: Callable[[Sequence[Arch]], dict[str, float]],
) -> Fast:
    """The most accurate arch on validation, by `validate`, among the best predictions within `limit` milliseconds.

    An arch whose own measured latency exceeds the limit does not count. Raises `UserError` naming the fastest arch
    where there is none.
    """
    conditions.check()
    predictor = context.needed("predict", PREDICTOR)
    stamp = weights_stamp(context.folder("train") / SUPERNET)
    model = load_predictor(predictor, net.space, context.section(PredictConfig, "predict"), stamp)
    net = deepcopy(net).cpu()
    known, path = table_for(net, conditions, table)
    whole = translate(net.choices, net.space)
    latency_of = latency_of_archs(known, net.space, net.classes, net.channels)
    config = context.section(SearchConfig, "search")
    found = search(
        net.choices,
        lambda genomes: predict(model, encode_genomes(net.space, whole(genomes))),
        lambda genomes: latency_of(whole(genomes)),
        config,
        derive(context.the_seed, "search/latency") % 2**31,
        allowed(net.choices, net.space, net.classes, net.channels, config.max_params),
    )
    within = [item for item in found if item[2] <= limit]
    if not within:
        raise UserError(f"--max-latency-ms is {limit:g}; the fastest arch is predicted to take {found[0][2]:.3f} ms")
    within.sort(key=lambda item: (-item[1], item[2]))
    count, slow = context.section(ExportConfig, "export").candidates, []
    for start in range(0, ATTEMPTS * count, count):
        some = within[start : start + count]
        times = measure_archs(net, [arch for arch, _, _ in some], conditions) if some else []
        fast = [(*item, float(time)) for item, time in zip(some, times, strict=True) if time <= limit]
        slow += list(times)
        if fast:
            accuracy = validate([arch for arch, *_ in fast])
            arch, _, predicted, measured = min(fast, key=lambda item: (-accuracy[str(item[0])], item[3]))
            times = round(measured, 4), round(predicted, 4)
            return Fast(arch, limit, *times, known.of, conditions, str(path), known.median_error_percent)
    fastest = min(slow)
    raise UserError(f"--max-latency-ms is {limit:g}; of {len(slow)} archs measured the fastest takes {fastest:.3f} ms")
