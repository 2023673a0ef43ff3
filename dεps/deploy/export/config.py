"""The `export` section of an experiment, and budgets as text."""

from __future__ import annotations

import math
import re
from dataclasses import field
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from dεps.core.errors import UserError
from dεps.core.schema import checked
from dεps.workspace.outputs import FINETUNED, INT8

#: what a budget can be called: part of a file's name, and an alias in MLflow
BUDGET_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
#: names that MLflow keeps for itself
TAKEN = re.compile(r"latest|v\d+")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
MOST_MACS = 1e15


def _name(text: str) -> str:
    if not BUDGET_NAME.fullmatch(text) or TAKEN.fullmatch(text):
        raise ValueError("expected a word of small letters, digits, _ and -, but not latest or v1")
    for end, which in ((FINETUNED, "fine-tuned"), (INT8, "quantised")):
        if text.endswith(end):
            raise ValueError(f"expected another end than {end}, which {which} models have")
    return text


@checked
class Budget:
    """What one exported subnet may cost."""

    #: of the file, and of the alias in MLflow
    name: Annotated[str, AfterValidator(_name)]
    #: up to 1 a share of the way from the space's least MACs (all kernels at their smallest) to its most, above it MACs
    max_macs: Annotated[float, Field(gt=0, le=MOST_MACS)] | None = None
    #: milliseconds a call, by the table of `search.latency`
    max_ms: Annotated[float, Field(gt=0, le=1e9)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Budget:
        if self.max_macs is None and self.max_ms is None:
            raise ValueError("max_macs is missing; expected it, max_ms or both")
        return self

    def macs(self, least: int, most: int) -> int | None:
        """In MACs, for a space whose archs have `least` to `most`; None without a limit of them."""
        if self.max_macs is None:
            return None
        return least + int(self.max_macs * (most - least)) if self.max_macs <= 1 else int(self.max_macs)


def _names(budgets: list[Budget]) -> list[Budget]:
    names = [budget.name for budget in budgets]
    if len(set(names)) != len(names):
        raise ValueError("expected different names")
    return budgets


@checked
class ExportConfig:
    """Which subnets stage `export` writes."""

    budgets: Annotated[list[Budget], Field(min_length=1, max_length=100), AfterValidator(_names)] = field(
        default_factory=lambda: [Budget("small", 0.1), Budget("medium", 0.3), Budget("large", 1.0)]
    )
    #: archs of the front that are measured on validation for a budget, beside those that search has measured
    candidates: Annotated[int, Field(ge=1, le=100_000)] = 3
    #: test images that tell whether an ONNX file computes what PyTorch does, at most
    check_images: Annotated[int, Field(ge=1, le=10**9)] = 2000
    #: whether each subnet is quantised too, and all archs to choose from are measured in int8 as well
    int8: bool = False


def parse_macs(text: str, where: str, what: str = "MACs") -> int:
    """MACs, or `what`, from text such as 3M, 3.5m, 1G, 3e6 or 3000000. Raises `UserError` naming the option `where`."""
    match = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE][+-]?\d{1,3})?|\.\d+)\s*([kKmMgGtT]?)\s*", text, re.ASCII)
    value = float(match[1]) * _UNITS[match[2].lower()] if match else math.nan
    if not 1 <= value <= MOST_MACS:
        raise UserError(f"{where} is {text!r}; expected a number of {what} such as 3M, 3.5e6 or 1G")
    return round(value)


def macs_text(macs: float) -> str:
    """MACs for people: 357 k, 2.05 M, 1.2 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if macs >= size:
            return f"{macs / size:.3g} {unit}"
    return f"{macs:.0f}"
