"""Reads how much energy processors and GPUs have used while something ran, where the machine tells.

RAPL counts per processor package (`/sys/class/powercap`, which often only root may read), NVML per GPU (by the package
nvidia-ml-py). Both count all that runs there, other processes too. What cannot be read is absent, not zero.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

POWERCAP = Path("/sys/class/powercap")
#: seconds between two readings of RAPL, whose counters start over after some minutes at full power
EVERY = 30.0


class EnergyMeter:
    """Counts joules by kind, "cpu" and "gpu", during a `with` block.

    Args:
        powercap: folder of RAPL's counters.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = [package for path in sorted(powercap.glob("intel-rapl:*")) if (package := _package(path))]
        self._gpus = _gpus()
        self._over = Event()
        self._began: list[int | None] = []
        self._thread: Thread | None = None

    def __enter__(self) -> EnergyMeter:
        self._began = [_millijoules(gpu) for gpu in self._gpus]
        if self._packages:
            self._thread = Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def joules(self) -> dict[str, float]:
        """Joules so far; a kind of which any counter cannot be read is not there, nor is "gpu" without CUDA in use."""
        found = {}
        for package in self._packages:
            package.read()
        if self._packages and all(package.intact for package in self._packages):
            found["cpu"] = round(sum(package.used for package in self._packages) / 1e6, 3)
        torch = sys.modules.get("torch")
        pairs = [(began, _millijoules(gpu)) for began, gpu in zip(self._began, self._gpus, strict=True)]
        whole = [now - began for began, now in pairs if began is not None and now is not None]
        if whole and len(whole) == len(pairs) and torch is not None and torch.cuda.is_initialized():
            found["gpu"] = round(sum(whole) / 1e3, 3)
        return found

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            for package in self._packages:
                package.read()


class _Package:
    """RAPL's counter of one processor package, in µJ, which starts over beyond `largest`."""

    def __init__(self, path: Path) -> None:
        self.path, self.used, self.intact = path, 0, True
        self.largest, self.last = _number(path / "max_energy_range_uj"), _number(path / "energy_uj")

    def read(self) -> None:
        """Add what was used since the last reading."""
        with suppress(OSError, ValueError):
            now = _number(self.path / "energy_uj")
            self.used += now - self.last + (self.largest + 1 if now < self.last else 0)
            self.last = now
            return
        self.intact = False


def _package(path: Path) -> _Package | None:
    """The counter in a folder; None if it is of a part of a package, of the whole machine, or not for us to read."""
    with suppress(OSError, ValueError):
        if path.name.count(":") == 1 and (path / "name").read_text().startswith("package"):
            return _Package(path)
    return None


def _number(path: Path) -> int:
    return int(path.read_text())


def _gpus() -> list[Any]:
    """NVML's handles of the GPUs that CUDA_VISIBLE_DEVICES names, or of all; none without NVML."""
    try:
        nvml = import_module("pynvml")
        nvml.nvmlInit()
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        if named is None:
            return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
        return [
            nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name)
            for name in filter(None, map(str.strip, named.split(",")))
        ]
    except Exception:  # of NVML's own kinds, which are known only where it is
        return []


def _millijoules(gpu: Any) -> int | None:
    """Energy since the driver was loaded; None for GPUs older than Volta."""
    try:
        return int(import_module("pynvml").nvmlDeviceGetTotalEnergyConsumption(gpu))
    except Exception:
        return None
