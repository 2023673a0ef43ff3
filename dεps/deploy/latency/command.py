"""`deps latency`: measures the layers of a space on this machine, and predicts the latency of archs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dεps.core.console import say
from dεps.core.device import set_up
from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.data.config import DatasetConfig
from dεps.data.manifest import read_manifest
from dεps.deploy.latency.table import default_path, measure_table
from dεps.deploy.latency.timing import Conditions
from dεps.nets.supernet import Supernet
from dεps.search.latency.layers import Layers
from dεps.search.latency.table import LatencyTable, load_table
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.stage import Context


@dataclass(frozen=True)
class LatencyResult:
    """A table, its file, and the latencies that were asked for."""

    table: LatencyTable
    path: Path
    #: milliseconds by arch
    archs: dict[str, float]

    def to_json(self) -> str:
        """One JSON object, without the table's layers, which are in its file."""
        own = {key: value for key, value in vars(self.table).items() if key != "layers"}
        return json.dumps({"table": str(self.path), **own, "archs": self.archs}, indent=1)


def latency(
    params: dict[str, Any] | None,
    experiment: str | None,
    space: str | None,
    classes: int | None,
    channels: int | None,
    conditions: Conditions,
    out: Path | None,
    archs: Sequence[str],
    unseen: int,
    again: bool,
) -> LatencyResult:
    """Latencies of archs of an experiment's space, or of a named one, from the table on file or one measured now.

    The arguments are the options of `deps latency`, with `params` as the content of `params.yaml`, which an experiment
    needs. An experiment decides the classes and channels that are not given; with `space` they are 10 and 3.
    """
    conditions.check()
    set_up()
    net = _net(params, experiment, space, classes, channels)
    wanted = [net.space.named(text, "--arch") for text in archs]
    table, path = table_for(net, conditions, out, unseen, again)
    layers = Layers(net)
    return LatencyResult(table, path, {str(arch): round(table.predict(layers, arch), 4) for arch in wanted})


def table_for(
    net: Supernet, conditions: Conditions, path: Path | None = None, unseen: int = 50, again: bool = False
) -> tuple[LatencyTable, Path]:
    """The table in `path`, or one measured now and written there; and the path."""
    own, path = path is None, path or default_path(net, conditions)
    if path.suffix != ".json":
        raise UserError(f"{path} is no name for a latency table; expected one that ends in .json")
    if path.exists() and not again:
        try:
            table = load_table(path, net.space, net.classes, net.channels)
        except UserError:
            if not own:
                raise
            return table_for(net, conditions, None, unseen, again=True)  # nobody named it, so nobody misses it
        if Conditions(table.engine, table.threads, table.batch) != conditions or table.runtime != conditions.runtime:
            raise UserError(f"{path} is of {table.runtime}, batch {table.batch}; 'deps latency --again' measures anew")
        return table, path
    table = measure_table(net, conditions, unseen)
    write_json(path, vars(table))
    return table, path


def _net(
    params: dict[str, Any] | None, experiment: str | None, space: str | None, classes: int | None, channels: int | None
) -> Supernet:
    """A supernet with initial weights, which make no difference to the time."""
    if space is not None and experiment is None:
        from dεps.workspace.presets import load_space

        return Supernet(load_space(space), classes or 10, channels or 3)
    if experiment is None or space is not None:
        raise UserError("one of EXPERIMENT and --space is needed: whose archs are measured")
    context = Context("latency", experiment, params=params or {})
    found = context.section(SearchSpace, "space")
    channels = channels or context.section(DatasetConfig, "dataset").channels
    return Supernet(found, classes or len(read_manifest(context.data_folder())["classes"]), channels)


def print_latency(result: LatencyResult) -> None:
    """Print what was measured, and the latency of each arch."""
    table = result.table
    say(f"{result.path}: {table.space}, {len(table.layers)} kinds of layers, batch {table.batch}")
    say(f"  {table.runtime}; networks as extracted")
    errors = f"median {table.median_error_percent:.1f} %, 90th percentile {table.p90_error_percent:.1f} %"
    say(f"  error on {table.unseen_archs} unseen archs: {errors}, Kendall's τ {table.kendall_tau:.2f}")
    for arch, milliseconds in result.archs.items():
        say(f"  {milliseconds:8.3f} ms  {Arch.parse(arch)}")
