"""The `export` section of an experiment, and budgets as text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from dεps.core.errors import UserError, check_numbers

#: what a budget can be called: part of a file's name, and an alias in MLflow
BUDGET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
#: names that MLflow keeps for itself
TAKEN = re.compile(r"latest|v\d+")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
MOST_MACS, MOST_BUDGETS = 1e15, 100


@dataclass
class Budget:
    """What one exported subnet may cost."""

    #: of the file, and of the alias in MLflow
    name: str
    #: up to 1 a share of the way from the space's least MACs (all kernels at their smallest) to its most, above it MACs
    max_macs: float

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        if not BUDGET_NAME.fullmatch(self.name) or TAKEN.fullmatch(self.name):
            expected = "a word of small letters, digits, _ and -, but not latest or v1"
            raise UserError(f"{where}.name is {self.name!r}; expected {expected}")
        if not 0 < self.max_macs <= MOST_MACS:
            raise UserError(f"{where}.max_macs is {self.max_macs}; expected a share above 0 up to 1, or MACs")

    def macs(self, least: int, most: int) -> int:
        """In MACs, for a space whose archs have `least` to `most`."""
        return least + int(self.max_macs * (most - least)) if self.max_macs <= 1 else int(self.max_macs)


def _default() -> list[Budget]:
    return [Budget("small", 0.1), Budget("medium", 0.3), Budget("large", 1.0)]


@dataclass
class ExportConfig:
    """Which subnets stage `export` writes."""

    budgets: list[Budget] = field(default_factory=_default)
    #: archs of the front that are measured on validation for a budget, beside those that search has measured
    candidates: int = 3
    #: at most so many test images tell whether an ONNX file computes what PyTorch does
    check_images: int = 2000

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        names = [budget.name for budget in self.budgets]
        if not 1 <= len(names) <= MOST_BUDGETS or len(set(names)) != len(names):
            raise UserError(f"{where}.budgets has the names {names}; expected 1 to {MOST_BUDGETS}, all different")
        check_numbers(self, where, candidates=(1, 10**5), check_images=(1, 10**9))


def parse_macs(text: str, where: str) -> int:
    """MACs from text such as 3M, 3.5m, 1G, 3e6 or 3000000. Raises `UserError` naming the option `where`."""
    match = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE][+-]?\d{1,3})?|\.\d+)\s*([kKmMgGtT]?)\s*", text, re.ASCII)
    value = float(match[1]) * _UNITS[match[2].lower()] if match else math.nan
    if not 1 <= value <= MOST_MACS:
        raise UserError(f"{where} is {text!r}; expected a number of MACs such as 3M, 3.5e6 or 1G")
    return round(value)


def macs_text(macs: float) -> str:
    """MACs for people: 357 k, 2.05 M, 1.2 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= size:
            return f"{macs / size:.3g} {unit}"
    return f"{macs:.0f}"
