"""Samples what this machine does while trainings run on it, for the page "System metrics" of their MLflow runs.

The numbers are the whole machine's, as MLflow's own are, since trainings that run side by side share it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

#: seconds over which values are averaged
EVERY = 30.0
#: MLflow's own switch; "false" turns these off
SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


class SystemMetrics:
    """Means of processor, memory, disk, network and GPU use, taken while something is running."""

    def __init__(self) -> None:
        self._monitors: list[Any] | None = None
        self._since = 0.0
        self._on = os.environ.get(SWITCH, "true").lower() not in ("false", "0")

    def look(self, running: bool) -> None:
        """Take a sample if something is running; forget them if not."""
        if not running or not self._on:
            self._monitors = None
            return
        if self._monitors is None:
            from dεps.tracking.private import monitors

            self._monitors, self._since = monitors(), time.monotonic()
        for monitor in self._monitors:
            with suppress(Exception):  # a GPU that is gone must not end the following
                monitor.collect_metrics()

    def due(self) -> dict[str, float]:
        """Return the means by name, without "system/", once in `EVERY` seconds; empty in between."""
        if self._monitors is None or time.monotonic() - self._since < EVERY:
            return {}
        found: dict[str, float] = {}
        for monitor in self._monitors:
            with suppress(Exception):
                found |= {key: float(value) for key, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        self._since = time.monotonic()
        return found
