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
from dεps.core.params import section
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.data.manifest import prepared_folder, read_manifest
from dεps.deploy.latency.layers import Layers
from dεps.deploy.latency.table import LatencyTable, as_dict, default_path, load_table, measure_table
from dεps.deploy.latency.timing import Conditions
from dεps.nets.supernet import Supernet
from dεps.spaces.space import Arch, SearchSpace


@dataclass(frozen=True)
class LatencyResult:
    """A table, its file, and the latencies that were asked for."""

    table: LatencyTable
    path: Path
    #: milliseconds by arch
    archs: dict[str, float]

    def to_json(self) -> str:
        """One JSON object, without the table's layers, which are in its file."""
        return json.dumps({"table": str(self.path), **as_dict(self.table), "archs": self.archs}, indent=1)


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

    Args:
        params: content of `params.yaml`; needed with `experiment`.
        experiment: decides the space and, unless given, classes and channels.
        space: name of a space in `params/space`, instead of an experiment.
        classes, channels: of the networks; by default those of the experiment's data, else 10 and 3.
        conditions: engine, threads and batch.
        out: the table's file; by default one below `.state/latency`.
        archs: archs to predict, as `SearchSpace.named` understands them.
        unseen: number of archs to measure the error on.
        again: measure even where there is a table on file.
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
            table = load_table(path, net)
        except UserError:
            if not own:
                raise
            return table_for(net, conditions, None, unseen, again=True)  # nobody named it, so nobody misses it
        if table.conditions != conditions or table.runtime != conditions.runtime:
            raise UserError(f"{path} is of {table.runtime}, batch {table.batch}; 'deps latency --again' measures anew")
        return table, path
    table = measure_table(net, conditions, unseen)
    table.save(path)
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
    own = section(params or {}, "experiments", experiment)
    key = f"experiments.{experiment}"
    found = structured(SearchSpace, section(own, "space"), f"{key}.space")
    channels = channels or structured(DatasetConfig, section(own, "dataset"), f"{key}.dataset").channels
    if classes is None:
        classes = len(read_manifest(prepared_folder(experiment))["classes"])
    return Supernet(found, classes, channels)


def print_latency(result: LatencyResult) -> None:
    """Print what was measured, and the latency of each arch."""
    table = result.table
    say(f"{result.path}: {table.space}, {len(table.layers)} kinds of layers, batch {table.batch}")
    say(f"  {table.runtime}; networks as extracted")
    say(
        f"  error on {table.unseen_archs} unseen archs: median {table.median_error_percent:.1f} %, "
        f"90th percentile {table.p90_error_percent:.1f} %, Kendall's τ {table.kendall_tau:.2f}"
    )
    for arch, milliseconds in result.archs.items():
        say(f"  {milliseconds:8.3f} ms  {Arch.parse(arch)}")
