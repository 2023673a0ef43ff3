"""The best arch under a budget, among those that search has found: by validation, never by test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from dεps.core.console import plural
from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.schema import checked, structured
from dεps.core.tables import column, matching, rows_where
from dεps.deploy.export.config import macs_text
from dεps.spaces.space import SearchSpace
from dεps.workspace.outputs import FRONT, MODELS, PARETO, POPULATION, SUPERNET
from dεps.workspace.stage import Context
from dεps.workspace.tables import CURE, check_weights, stamp_of, weights_stamp


def read_front(context: Context, space: SearchSpace) -> pd.DataFrame:
    """The table `FRONT`, with a column `measured`. Raises `UserError` where it is missing, or its archs are others'."""
    path = context.needed("search", FRONT.file)
    front = FRONT.read(path.parent)
    for arch in front.arch:
        if not space.writes(arch):
            raise UserError(f"{path} holds {arch!r}, no arch of {space.name}; {CURE}")
    check_weights(front, path, context.folder("train") / SUPERNET)
    front["measured"] = pd.to_numeric(front["measured"], errors="coerce") if "measured" in front else float("nan")
    return front


def check_latency(front: pd.DataFrame, sha256: str, where: str) -> None:
    """Raise `UserError` where the milliseconds of a front, the file `where`, are not of the table with that hash."""
    if "latency_table" not in front or set(front.latency_table) != {stamp_of(sha256)}:
        raise UserError(f"{where} was searched with another latency table, or none; {CURE}")
    if "ms" not in front or not pd.api.types.is_numeric_dtype(front.ms) or not np.isfinite(front.ms).all():
        raise UserError(f"{where} has milliseconds that are no finite numbers; {CURE}")


def within_params(front: pd.DataFrame, limit: int) -> pd.DataFrame:
    """Rows of archs of at most `limit` parameters. Raises `UserError` naming the least where there is none."""
    under = rows_where(front, front.params <= limit)
    if under.empty:
        least = int(front.params.min())
        raise UserError(f"--max-params is {limit:,}; the smallest arch that search found has {least:,} parameters")
    return under


@dataclass(frozen=True)
class Limit:
    """What an arch may cost."""

    macs: float | None = None
    #: milliseconds by the latency table that the front was searched with
    ms: float | None = None

    def within(self, front: pd.DataFrame) -> pd.DataFrame:
        """Rows of archs that keep to it."""
        for key, limit in vars(self).items():
            front = front if limit is None else rows_where(front, column(front, key) <= limit)
        return front

    def unmet(self, front: pd.DataFrame) -> str:
        """In words, what is asked for and the least that there is, for a front without any arch within."""
        costs = {"macs": lambda it: f"{macs_text(it)} MACs", "ms": lambda it: f"{it:g} ms"}
        asked = {key: limit for key, limit in vars(self).items() if limit is not None}
        wanted = " and ".join(costs[key](limit) for key, limit in asked.items())
        for key, limit in asked.items():  # one that none keeps to says most
            if (least := column(front, key).min()) > limit:
                return f"{wanted}; of the archs that search found the least is {costs[key](least)}"
        fewest = Limit(self.macs).within(front)
        return f"{wanted}; of the archs that search found within these MACs the least is {costs['ms'](fewest.ms.min())}"


def candidates(front: pd.DataFrame, limit: Limit, count: int, where: str) -> list[str]:
    """Archs within `limit`: the `count` best predicted, and all measured ones. Raises `UserError` if none."""
    under = limit.within(front)
    if under.empty:
        raise UserError(f"{where} is {limit.unmet(front)}")
    best = under.sort_values(["predicted", "macs"], ascending=[False, True]).arch.head(count)
    return list(dict.fromkeys([*best, *rows_where(under, under.measured.notna()).arch]))


def most_accurate(front: pd.DataFrame, archs: Iterable[str], measured: dict[str, float]) -> str:
    """Of `archs`, the one with the best accuracy on validation; of equals that of the fewest MACs."""
    macs = dict(zip(front.arch, front.macs, strict=True))
    return min(archs, key=lambda arch: (-measured[arch], macs[arch], arch))


@checked
class _Measured:
    """The latency table that milliseconds are predicted by."""

    of: str
    unseen_archs: int
    median_error_percent: float


@checked
class Cost:
    """What a model in `models.json` may cost, and its latency as a latency table predicts it."""

    max_macs: int | None = None
    max_ms: float | None = None
    ms: float | None = None
    latency_table: _Measured | None = None

    @classmethod
    def of(cls, facts: dict[str, Any], where: str = MODELS) -> Cost:
        """From what the file says. Raises `UserError` naming the key below `where` that is wrong."""
        return structured(cls, {key: facts[key] for key in COST if key in facts}, where)

    @property
    def limits(self) -> str:
        """In words."""
        most = {"MACs": self.max_macs, "ms": self.max_ms}
        return "at most " + " and ".join(f"{limit:,} {unit}" for unit, limit in most.items() if limit is not None)

    @property
    def predicted_by(self) -> str:
        """In words, whose milliseconds they are and how far off; empty without a table."""
        if (table := self.latency_table) is None:
            return ""
        error = f"median error {table.median_error_percent:.1f} % on {plural(table.unseen_archs, 'unseen arch')}"
        return f"predicted by a latency table of {table.of} ({error})"


#: keys of `Cost` that are of the very model, not of its budget
LATENCY = ("ms", "latency_table")
#: keys of `Cost`
COST = tuple(field.name for field in fields(Cost))


@checked
class _Against:
    """A difference on the same images, in points."""

    points: float
    error: float
    is_noise: bool

    def __str__(self) -> str:
        return f"{self.points:+.2f} ± {self.error:.2f}"


@checked
class _Int8:
    """What int8 changes: the model's accuracy, and the ranking of the archs measured under its budget."""

    validation: _Against
    test: _Against
    archs: int
    kendall_tau: float | None
    best: str
    best_val_top1: float


def remarks(facts: dict[str, Any], where: str = MODELS) -> list[str]:
    """`worse_than`, or what int8 costs, short enough for a table.

    Raises `UserError` naming the key below `where` that is wrong.
    """
    return [
        *int8_remarks(facts, where),
        *(f"{found} to {budget} on {split}{_noise(found)}" for budget, split, found in _smaller(facts, where)),
    ]


def int8_remarks(facts: dict[str, Any], where: str = MODELS) -> list[str]:
    """In words, what a model in `models.json` that is in int8 loses, and whether int8 would choose another arch."""
    if "int8" not in facts:
        return []
    own = structured(_Int8, facts["int8"], f"{where}.int8")
    splits = {"validation": own.validation, "test": own.test}
    lost = [f"{one} to float on {split}{_noise(one)}" for split, one in splits.items()]
    tau = "" if own.kendall_tau is None else f" ranked as by float with τ {own.kendall_tau:.2f}"
    best = f"int8 would choose {own.best} ({own.best_val_top1:.2f} % on validation)"
    return [*lost, f"{plural(own.archs, 'arch')} in both{tau}", *([best] if own.best != facts.get("arch") else [])]


def _noise(found: _Against) -> str:
    return ", within noise" * found.is_noise


def _smaller(facts: dict[str, Any], where: str) -> list[tuple[str, str, _Against]]:
    """Budget, split and difference of each smaller model that is better."""
    found = structured(dict[str, dict[str, _Against]], facts.get("worse_than", {}), f"{where}.worse_than")
    return [(budget, split, one) for budget, splits in found.items() for split, one in splits.items()]


def worse_than(facts: dict[str, Any], where: str = MODELS) -> list[str]:
    """In words, under which smaller budgets a model in `models.json` has a better one, and whether that is noise."""
    lines = []
    for budget, split, found in _smaller(facts, where):
        # Test images choose nothing, so they give no advice.
        advice = ": take the smaller one" if split == "validation" else ""
        verdict = "within noise" if found.is_noise else f"more than noise{advice}"
        difference = f"{-found.points:.2f} ± {found.error:.2f} points"
        lines.append(f"is {difference} worse on {split} than {budget}, which is smaller: {verdict}")
    return lines


def known_accuracies(front: pd.DataFrame) -> dict[str, float]:
    """What search has measured on validation, in percent by arch."""
    known = rows_where(front, front.measured.notna())
    return dict(zip(known.arch, known.measured.astype(float), strict=True))


def known_test_top1(context: Context, arch: str, val_top1: float) -> float | None:
    """Top-1 on test in percent, where the pipeline has measured that very arch with these weights and `val_top1`."""
    weights = context.folder("train") / SUPERNET
    stamp = weights_stamp(weights) if weights.exists() else None
    path = context.folder("export") / MODELS
    if path.exists():
        for model in read_json(path, "the stage 'export'").values():
            own = isinstance(model, dict) and (model.get("arch"), model.get("val_top1")) == (arch, val_top1)
            own = own and model.get("weights", stamp) == stamp and model.get("quantised") is None
            if own and isinstance(model.get("test_top1"), float):
                return model["test_top1"]
    folder = context.folder("evaluate")
    for kind in (PARETO, POPULATION):
        if (folder / kind.file).exists():
            table = kind.read(folder)
            if "weights" in table:
                table = matching(table, weights=stamp)
            own = matching(table, arch=arch)
            if len(same := rows_where(own, own.val_top1.round(4) == val_top1)):
                return float(same.test_top1.iloc[0])
    return None
