"""Measures how long each kind of layer takes on this machine, for a table that predicts an arch's latency.

This is OFA's way (arXiv 1908.09791, §3.2, after ProxylessNAS). An offset and a scale, fitted to a few whole archs,
account for what a call costs by itself, and for layers that run faster or slower in a row than alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from scipy.stats import kendalltau
from torch import nn

from dεps.core.hashing import digest
from dεps.core.randomness import python_rng
from dεps.deploy.latency.timing import Conditions, latencies, runner
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.search.latency.layers import Layers
from dεps.search.latency.table import LatencyTable, digest_of
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch
from dεps.workspace.stage import STATE

#: number of whole archs that offset and scale are fitted to
FITTED = 24
#: bytes that archs measured together may take
MEMORY = 2**31


def default_path(net: Supernet, conditions: Conditions) -> Path:
    """Default file of a table, named by all that it depends on, runtime and processor included."""
    own = [dataclasses.asdict(net.space), net.classes, net.channels, dataclasses.asdict(conditions), conditions.runtime]
    return STATE / "latency" / f"{net.space.name}-{digest(own)}.json"


def measure_table(net: Supernet, conditions: Conditions, unseen: int = 50) -> LatencyTable:
    """Measure every kind of layer, fit offset and scale to whole archs, and measure the error on `unseen` others."""
    layers = Layers(net)
    layers.meet_all()
    kinds = list(layers.built)
    runners = [runner(layers.built[kind], kind.inputs, conditions) for kind in kinds]
    # A call has a cost of its own, whatever it computes; an arch pays it once.
    runners.append(runner(nn.Identity(), (1,), conditions))
    *alone, call = latencies(runners, conditions, f"latency: {len(kinds)} kinds of layers")
    times = {str(kind): round(max(0.0, float(time - call)), 6) for kind, time in zip(kinds, alone, strict=True)}

    archs = _archs(net, FITTED + unseen)
    whole = measure_archs(net, archs, conditions)
    sums = np.array([sum(times[str(kind)] for kind in layers.kinds(arch)) for arch in archs])
    fitted = FITTED if len(archs) == FITTED + unseen else max(1, len(archs) // 2)  # a tiny space has few
    offset, scale = _fit(sums[:fitted], whole[:fitted])
    predicted, true = offset + scale * sums[fitted:], whole[fitted:]
    error = 100 * np.abs(predicted - true) / true
    median, p90 = (round(float(np.quantile(error, q)), 2) if len(true) else 0.0 for q in (0.5, 0.9))
    tau = cast(float, kendalltau(predicted, true)[0]) if len(set(predicted)) > 1 else 0.0
    return LatencyTable(
        space=net.space.name,
        space_digest=digest_of(net.space),
        classes=net.classes,
        channels=net.channels,
        **dataclasses.asdict(conditions),
        runtime=conditions.runtime,
        offset_ms=round(offset, 6),
        scale=round(scale, 6),
        unseen_archs=len(true),
        median_error_percent=median,
        p90_error_percent=p90,
        kendall_tau=round(float(np.nan_to_num(tau)), 4),
        layers=times,
    )


def measure_archs(net: Supernet, archs: Sequence[Arch], conditions: Conditions) -> np.ndarray:
    """Milliseconds per call (n,) of whole extracted archs, measured in portions that fit into `MEMORY`."""
    params, found = arch_cost(net.space, net.space.largest(), net.classes, net.channels).params, []
    count = max(2, MEMORY // (16 * params))  # weights in float32, twice, and as much again for activations
    for start in range(0, len(archs), count):
        some = archs[start : start + count]
        shapes = {arch: (net.channels, arch.resolution, arch.resolution) for arch in some}
        runners = [runner(extract(net, arch).eval(), shapes[arch], conditions) for arch in some]
        part = f" (part {start // count + 1})" if len(some) < len(archs) else ""
        found.append(latencies(runners, conditions, f"latency: {len(some)} archs{part}"))
    return np.concatenate(found)


def _archs(net: Supernet, count: int) -> list[Arch]:
    """Up to `count` different archs: the largest, the smallest, then random ones."""
    rng = python_rng(0, "latency")
    found = {net.space.largest(): None, net.space.smallest(): None}
    for _ in range(20 * count):
        if len(found) >= count:
            break
        found[net.space.sample(rng)] = None
    return list(found)


def _fit(sums: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Offset and scale, not negative, with the least squared relative error of `offset + scale * sums` (n,)."""
    weights = 1 / whole
    matrix = np.stack([np.ones_like(sums), sums], axis=1) * weights[:, None]
    (offset, scale), *_ = np.linalg.lstsq(matrix, np.ones_like(whole), rcond=None)
    return (float(offset), float(scale)) if scale > 0 else (float(np.median(whole)), 0.0)
