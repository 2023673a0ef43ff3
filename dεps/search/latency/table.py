"""Latency tables: milliseconds of a space's layers on some machine, from which the latency of every arch follows.

A table predicts the same anywhere, so a search under a limit of latency is as reproducible as one under MACs; measuring
a table is `dεps.deploy.latency`'s.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.given import given_file
from dεps.core.hashing import digest
from dεps.core.schema import checked, structured
from dεps.nets.supernet import Supernet
from dεps.search.latency.layers import Layers
from dεps.search.nsga2 import Judge, SearchConfig
from dεps.spaces.space import Arch, SearchSpace

#: what `search.latency` names
TABLE = "a latency table, as 'deps latency' writes"


@checked
class LatencyTable:
    """Milliseconds of every kind of layer; a whole arch takes `offset_ms + scale * sum of its layers`."""

    space: str
    #: `digest_of` the space, which names alone don't tell apart
    space_digest: str
    classes: int
    channels: int
    engine: str
    #: that the engine may use
    threads: Annotated[int, Field(ge=1, le=10_000)]
    #: images of one call
    batch: Annotated[int, Field(ge=1, le=1_000_000)]
    #: engine, its version, device and threads, in words
    runtime: str
    offset_ms: Annotated[float, Field(ge=-1e9, le=1e9)]
    scale: Annotated[float, Field(ge=0, le=1_000_000)]
    #: number of archs, not among the fitted ones, on which the next three figures were measured
    unseen_archs: Annotated[int, Field(ge=0, le=1_000_000)]
    median_error_percent: float
    p90_error_percent: float
    kendall_tau: float
    #: milliseconds by kind
    layers: Annotated[dict[str, Annotated[float, Field(ge=0, le=1e9)]], Field(min_length=1)]

    @property
    def of(self) -> str:
        """What was measured, in words."""
        return f"{self.runtime}, batch {self.batch}"

    def predict(self, layers: Layers, arch: Arch) -> float:
        """Milliseconds per call of `arch`. Raises `UserError` where the table lacks a kind of layer."""
        try:
            return self.offset_ms + self.scale * sum(self.layers[str(kind)] for kind in layers.kinds(arch))
        except KeyError as error:
            raise UserError(f"the latency table of {self.space} has no layer {error}; measure it again") from None


def load_table(path: Path, space: SearchSpace, classes: int | None, channels: int) -> LatencyTable:
    """The table in a file, of these classes unless None.

    Raises `UserError` naming the file where it holds none, or that of another space.
    """
    table = structured(LatencyTable, read_json(path, "'deps latency'"), str(path))
    for key, own in (("space", space.name), ("classes", classes), ("channels", channels)):
        if own is not None and getattr(table, key) != own:
            raise UserError(f"{path} has {key} {getattr(table, key)}; expected {own}, or run 'deps latency' again")
    if table.space_digest != digest_of(space):
        raise UserError(f"{path} is of another space that is called {space.name}; run 'deps latency' again")
    return table


def digest_of(space: SearchSpace) -> str:
    """Digest of all that a space says of itself."""
    return digest(asdict(space))


def given_table(
    config: SearchConfig, space: SearchSpace, classes: int | None, channels: int, where: str = "search"
) -> LatencyTable | None:
    """The table that `config.latency` names, if any. Raises `UserError` naming the key below `where`, or the file."""
    if config.latency is None:
        return None
    path = given_file(config.latency, config.latency_sha256, f"{where}.latency", TABLE)
    return load_table(path, space, classes, channels)


def latency_of_archs(table: LatencyTable, space: SearchSpace, classes: int, channels: int) -> Judge:
    """Milliseconds (n,) by the table of genomes (n, genes) of `space`.

    Raises `UserError` here where the table lacks a kind of layer that an arch of the space can have, and when called
    where it predicts that an arch takes no time.
    """
    layers = Layers(Supernet(space, classes, channels))  # of initial weights, which make no difference to a table
    layers.meet_all()
    if missing := next((kind for kind in layers.built if str(kind) not in table.layers), None):
        raise UserError(f"the latency table of {table.space} has no layer '{missing}'; measure it again")

    def latency_of(genomes: np.ndarray) -> np.ndarray:
        archs = [space.from_genome(genome) for genome in genomes.tolist()]
        found = np.array([table.predict(layers, arch) for arch in archs], dtype=float)
        if len(found) and found.min() <= 0:
            least = f"{found.min():g} ms for {archs[found.argmin()]}"
            raise UserError(f"the latency table of {table.space} predicts {least}; measure it again")
        return found

    return latency_of
