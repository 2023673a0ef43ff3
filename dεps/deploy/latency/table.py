"""A table of how long each kind of layer takes on this machine; an arch's latency is a fit of their sum.

OFA's way (arXiv 1908.09791, §3.2, after ProxylessNAS). A call costs something of its own, and layers that follow each
other are a little faster, or slower, than alone; both are fitted to a few whole archs. Others tell the error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from torch import nn

from dεps.core.errors import UserError, check_numbers
from dεps.core.files import read_json, write_json
from dεps.core.hashing import digest
from dεps.core.randomness import python_rng
from dεps.core.schema import structured
from dεps.deploy.latency.layers import Layers
from dεps.deploy.latency.timing import Conditions, latencies, runner
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch
from dεps.workspace.stage import STATE

#: whole archs that the fit sees
FITTED = 24
#: bytes that the archs which are measured together may take
MEMORY = 2**31


@dataclass
class LatencyTable:
    """Milliseconds of every kind of layer, and of a whole arch `offset_ms + scale * sum`."""

    space: str
    classes: int
    channels: int
    engine: str
    threads: int
    batch: int
    #: engine, version and device that were measured
    runtime: str
    offset_ms: float
    scale: float
    #: on archs that the fit has not seen
    unseen_archs: int
    median_error_percent: float
    p90_error_percent: float
    kendall_tau: float
    layers: dict[str, float] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        check_numbers(self, where, threads=(1, 10**4), batch=(1, 10**6), scale=(0, 10**6), offset_ms=(-1e9, 1e9))
        if not self.layers or min(self.layers.values()) < 0:
            raise UserError(f"{where}.layers is empty or has negative times; measure it again")

    @property
    def conditions(self) -> Conditions:
        """What was measured under."""
        return Conditions(self.engine, self.threads, self.batch)

    def predict(self, layers: Layers, arch: Arch) -> float:
        """Milliseconds of a call. Raises `UserError` where the table lacks a kind of layer."""
        try:
            return self.offset_ms + self.scale * sum(self.layers[str(kind)] for kind in layers.kinds(arch))
        except KeyError as error:
            raise UserError(f"the latency table of {self.space} has no layer {error}; measure it again") from None

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, dataclasses.asdict(self))


def load_table(path: Path, net: Supernet) -> LatencyTable:
    """A table of the net's space. Raises `UserError` naming the file where it is none, or of another."""
    table = structured(LatencyTable, read_json(path, "'deps latency'"), str(path))
    for key, own in (("space", net.space.name), ("classes", net.classes), ("channels", net.channels)):
        if getattr(table, key) != own:
            raise UserError(f"{path} has {key} {getattr(table, key)}; expected {own}, or run 'deps latency' again")
    return table


def default_path(net: Supernet, conditions: Conditions) -> Path:
    """Where a table is kept that nobody named: by all that it depends on, runtime and processor too."""
    own = [dataclasses.asdict(net.space), net.classes, net.channels, dataclasses.asdict(conditions), conditions.runtime]
    return STATE / "latency" / f"{net.space.name}-{digest(own)}.json"


def measure_table(net: Supernet, conditions: Conditions, unseen: int = 50) -> LatencyTable:
    """Measure every kind of layer, fit to whole archs, and say the error on `unseen` others.

    All archs are random but for the smallest and the largest, which the fit sees; seconds on a CPU for a small space.
    """
    layers = Layers(net)
    layers.meet_all()
    kinds = list(layers.built)
    runners = [runner(layers.built[kind], kind.inputs, conditions) for kind in kinds]
    # A call costs something whatever is in it, which an arch pays once.
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
    tau = kendalltau(predicted, true).statistic if len(set(predicted)) > 1 else 0.0
    return LatencyTable(
        space=net.space.name,
        classes=net.classes,
        channels=net.channels,
        **dataclasses.asdict(conditions),
        runtime=conditions.runtime,
        offset_ms=round(offset, 6),
        scale=round(scale, 6),
        unseen_archs=len(true),
        median_error_percent=round(float(np.median(error)), 2) if len(true) else 0.0,
        p90_error_percent=round(float(np.quantile(error, 0.9)), 2) if len(true) else 0.0,
        kendall_tau=round(float(np.nan_to_num(tau)), 4),
        layers=times,
    )


def measure_archs(net: Supernet, archs: Iterable[Arch], conditions: Conditions) -> np.ndarray:
    """Milliseconds a call (n,) of whole extracted archs."""
    archs, found = list(archs), []
    for number, some in enumerate(_together(net, archs), 1):
        shapes = [(net.channels, arch.resolution, arch.resolution) for arch in some]
        runners = [
            runner(extract(net, arch).eval(), shape, conditions) for arch, shape in zip(some, shapes, strict=True)
        ]
        part = f" (part {number})" if len(some) < len(archs) else ""
        found.append(latencies(runners, conditions, f"latency: {len(some)} archs{part}"))
    return np.concatenate(found)


def _together(net: Supernet, archs: list[Arch]) -> Iterator[list[Arch]]:
    """Archs in portions that fit the memory."""
    params = arch_cost(net.space, net.space.largest(), net.classes, net.channels).params
    count = max(2, MEMORY // (16 * params))  # weights in float32, twice, and room for what they work with
    for start in range(0, len(archs), count):
        yield archs[start : start + count]


def _archs(net: Supernet, count: int) -> list[Arch]:
    """Different archs: the largest, the smallest, then random ones."""
    rng = python_rng(0, "latency")
    found = {net.space.largest(): None, net.space.smallest(): None}
    for _ in range(20 * count):
        if len(found) >= count:
            break
        found[net.space.sample(rng)] = None
    return list(found)


def _fit(sums: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Offset and scale with the least squares of relative errors; no negative scale."""
    weights = 1 / whole
    matrix = np.stack([np.ones_like(sums), sums], axis=1) * weights[:, None]
    (offset, scale), *_ = np.linalg.lstsq(matrix, np.ones_like(whole), rcond=None)
    return (float(offset), float(scale)) if scale > 0 else (float(np.median(whole)), 0.0)


def as_dict(table: LatencyTable) -> dict[str, Any]:
    """What is said of a table: all but its layers."""
    return {key: value for key, value in dataclasses.asdict(table).items() if key != "layers"}
