"""Counts the training cost that claims at published lengths are about, which needs no training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from dεps.planning.check import composed
from dεps.planning.plan import plan_experiment


@cache
def training_cost(preset: str) -> Mapping[str, float]:
    """MACs of the whole training of each method of a preset, as `deps plan` counts them."""
    params, _ = composed([f"experiment=[{preset}]"])
    return {plan.method: float(plan.macs) for plan in plan_experiment(params, preset, steps=0).methods}
