"""A published experiment as a table to ask: what an arch reaches under a method, with its spread over seeds.

For predictors and searches that are studied without training anything. Accuracies are top-1, or top-5, in percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from dεps.core.errors import UserError, check_choice
from dεps.core.schema import structured
from dεps.core.tables import column, rows_where
from dεps.deploy.export.config import parse_macs
from dεps.report.publishing.seed import KINDS, PUBLISHED, read_seeds
from dεps.spaces.encoding import encode_genomes
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.project import template

_MEASURED = ("val_top1", "test_top1")
#: where there are more than five classes
_TOP5 = ("val_top5", "test_top5")


class Benchmark:
    """The rows of all seeds. Methods return new frames; `over_seeds` sums one up."""

    def __init__(self, folder: Path) -> None:
        """Read `folder`. Raises `UserError` where it holds no seeds, damaged files, or results of two kinds."""
        seeds = read_seeds(folder)
        if not seeds:
            raise UserError(f"{folder} holds no published seeds; 'deps publish {folder.name}' writes them")
        self.experiment, self.seeds, self.params = folder.name, [one.seed for one in seeds], seeds[0].params
        #: one row an evaluated arch of a method and seed, as reports/published/README.md describes
        self.archs = pd.concat([one.archs for one in seeds], ignore_index=True)
        #: one row a training: cost, time, machine, metrics of all stages
        self.runs = pd.concat([one.runs for one in seeds], ignore_index=True)
        #: one row an epoch of a training
        self.history = pd.concat([one.history for one in seeds], ignore_index=True)
        #: facts of the data: name, classes, channels, images by split
        self.data: dict[str, Any] = seeds[0].provenance["data"]

    def __repr__(self) -> str:
        return f"<{self.experiment}: {len(self.methods)} methods × {len(self.seeds)} seeds, {len(self.archs):,} rows>"

    @cached_property
    def methods(self) -> list[str]:
        """Those with rows, in their order; `full_model` and `standalone-<arch>` were trained alone."""
        return list(dict.fromkeys(self.archs.method))

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, which names, samples and counts archs."""
        return structured(SearchSpace, self.params["space"], "space")

    def rows(
        self,
        method: str | Sequence[str] = (),
        kind: str | Sequence[str] = (),
        seed: int | Sequence[int] = (),
        max_macs: float | str | None = None,
        arch: str | Arch | None = None,
    ) -> pd.DataFrame:
        """The rows of `archs` that fit all that is given, by MACs.

        Args:
            method, kind, seed: one or several of `methods`, of "pareto", "least", "population", "front", "full_model",
                "standalone", and of `seeds`.
            max_macs: as a number, or as "3M".
            arch: as a name ("smallest", "D2E3K3") or as text.

        Raises `UserError` naming what is unknown.
        """
        table = self.archs
        allowed: dict[str, Sequence[Any]] = {"method": self.methods, "kind": KINDS, "seed": self.seeds}
        for name, wanted in (("method", method), ("kind", kind), ("seed", seed)):
            values = [wanted] if isinstance(wanted, str | int) else list(wanted)
            for value in values:
                check_choice(value, allowed[name], name)
            if values:
                table = rows_where(table, column(table, name).isin(values))
        if max_macs is not None:
            limit = parse_macs(max_macs, "max_macs") if isinstance(max_macs, str) else max_macs
            table = rows_where(table, column(table, "macs").le(limit))
        if arch is not None:
            table = rows_where(table, column(table, "arch").eq(str(self._arch(arch))))
        return table.sort_values("macs", kind="stable", ignore_index=True)

    def over_seeds(self, rows: pd.DataFrame) -> pd.DataFrame:
        """One row a method and arch of some `rows`, by MACs: accuracies as mean and `…_std`, and number of `seeds`.

        All numbers of a row are of the same seeds: where some have an accuracy on test, of these; an arch that search
        chose in other seeds has one on validation only there. The deviation is a sample's, hence empty of one seed. An
        arch that several kinds have counts once a seed; rows that were predicted only do not count.
        """
        rows = rows.dropna(subset=[*_MEASURED], how="all")
        measured = [*_MEASURED, *(name for name in _TOP5 if name in rows)]
        order = {kind: place for place, kind in enumerate(KINDS)}
        ordered = rows.iloc[column(rows, "kind").map(order).argsort(kind="stable")]
        once = ordered.groupby(["method", "arch", "seed"], sort=False)[["name", "macs", "params", *measured]].first()
        tested = once.test_top1.notna()
        once = rows_where(once, tested | ~tested.groupby(level=["method", "arch"]).transform("any"))
        grouped = once.groupby(level=["method", "arch"], sort=False)
        table = grouped[["name", "macs", "params"]].first()
        for name in measured:
            table[name], table[f"{name}_std"] = grouped[name].mean(), grouped[name].std()
        table["seeds"] = grouped.size()
        return table.reset_index().sort_values(["macs", "method"], kind="stable", ignore_index=True)

    def nearest(self, arch: str | Arch, count: int = 1, **which: Any) -> pd.DataFrame:
        """Rows, as `rows(**which)`, of the `count` archs nearest to `arch`, with their `distance`, nearest first.

        The distance is the number of features in which OFA's one-hot encodings differ: 2 for another kernel, expand
        ratio or resolution, and 2 for a block that one of them lacks.
        """
        found = self.rows(**which)
        texts = list(dict.fromkeys(found.arch))
        if not texts:
            return found.assign(distance=[])
        own, *others = self._encoded([self._arch(arch), *map(Arch.parse, texts)])
        distances = np.abs(np.stack(others) - own).sum(1).astype(int)
        near = [texts[place] for place in distances.argsort(kind="stable")[:count]]
        table = rows_where(found, column(found, "arch").isin(near))
        table = table.assign(distance=column(table, "arch").map(dict(zip(texts, distances.tolist(), strict=True))))
        return table.sort_values("distance", kind="stable", ignore_index=True)

    def sample(self, rng: Random, count: int = 1, **which: Any) -> pd.DataFrame:
        """Rows, as `rows(**which)`, of `count` different archs drawn at random, or of all if there are fewer."""
        found = self.rows(**which)
        texts = list(dict.fromkeys(found.arch))
        drawn = rng.sample(texts, min(count, len(texts)))
        return rows_where(found, column(found, "arch").isin(drawn)).reset_index(drop=True)

    def encoded(self, archs: Sequence[str]) -> np.ndarray:
        """OFA's one-hot encodings float32 (n, features) of archs as text, for a predictor to learn from."""
        return self._encoded([Arch.parse(text) for text in archs])

    def _encoded(self, archs: Sequence[Arch]) -> np.ndarray:
        return encode_genomes(self.space, np.array([self.space.to_genome(arch) for arch in archs]))

    def _arch(self, arch: str | Arch) -> Arch:
        return self.space.named(str(arch))


def published(experiment: str, folder: str | Path | None = None) -> Benchmark:
    """The published results of an experiment, as a table to ask.

    Args:
        experiment: name of a folder in `folder`.
        folder: default: `reports/published` here, or else what came with the package.

    Raises `UserError` naming what there is.
    """
    folders = [Path(folder)] if folder is not None else [PUBLISHED, template() / PUBLISHED]
    for place in folders:
        if list((place / experiment).glob("seed-*")):
            return Benchmark(place / experiment)
    there = sorted({path.parent.name for place in folders for path in place.glob("*/seed-*")})
    raise UserError(f"{experiment!r} is not published in {folders[0]}; there is: {', '.join(there) or 'nothing'}")
