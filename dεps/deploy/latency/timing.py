"""Measures how long networks take on this machine: in turn, repeatedly, with a fixed number of threads."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from dεps.core.console import progress, warn
from dεps.core.device import best_device, threads
from dεps.core.errors import UserError, check_choice
from dεps.core.process import is_portable
from dεps.deploy.onnx.graph import INPUT, to_onnx
from dεps.deploy.onnx.session import open_session

ENGINES = ("onnxruntime", "torch")
#: seconds of one sample, which holds as many calls as fit; long enough for the clock's own cost to vanish
SAMPLE = 2e-3
#: samples per network: at most, and at least; as few as that where more would take longer than PATIENCE seconds in all
ROUNDS, FEWEST_ROUNDS, PATIENCE = 25, 7, 60.0
#: a sample during which the processor worked for a smaller part of what it does at best, with one thread or several,
#: was interrupted by another process
OWN = 0.95
#: so many samples that were not interrupted count alone
ENOUGH = 3


@dataclass(frozen=True)
class Conditions:
    """What a latency depends on, beside the network."""

    #: one of ENGINES: ONNX Runtime on the CPU, or PyTorch, eager, on the GPU where there is one
    engine: str = "onnxruntime"
    threads: int = 1
    #: images per call
    batch: int = 1

    def check(self) -> None:
        """Raise `UserError` where there is no such engine, or where it would have to use portable kernels."""
        check_choice(self.engine, ENGINES, "--engine")
        if self.engine == "torch" and is_portable():
            raise UserError(
                "--engine is torch, which portable: true in params.yaml slows down; expected onnxruntime, or "
                "'deps params portable=false' before"
            )

    @property
    def device(self) -> torch.device:
        return best_device() if self.engine == "torch" else torch.device("cpu")

    @property
    def runtime(self) -> str:
        """Engine, its version, device and threads in words; a table holds for these only."""
        version = onnxruntime.__version__ if self.engine == "onnxruntime" else torch.__version__
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else cpu_name()
        return f"{self.engine} {version} on {name}, {self.threads} thread{'s' * (self.threads > 1)}"


@cache
def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def runner(net: nn.Module, shape: tuple[int, ...], conditions: Conditions) -> Callable[[], object]:
    """Function that runs a plain network once, on a random batch of inputs of that shape."""
    images = _images(shape, conditions)
    if conditions.engine == "onnxruntime":
        return session_runner(to_onnx(net, shape).SerializeToString(), shape, conditions)
    device = conditions.device
    net, images = net.eval().to(device), images.to(device)
    if images.dim() == 4:
        images = images.to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            net(images)

    return run


def session_runner(model: bytes, shape: tuple[int, ...], conditions: Conditions) -> Callable[[], object]:
    """The same for a model of `dεps.deploy.onnx`, in ONNX Runtime."""
    session, array = open_session(model, conditions.threads, spinning=False), _images(shape, conditions).numpy()
    return lambda: session.run(None, {INPUT: array})


def _images(shape: tuple[int, ...], conditions: Conditions) -> torch.Tensor:
    return torch.rand(conditions.batch, *shape, generator=torch.Generator().manual_seed(0))


def latencies(runners: Sequence[Callable[[], object]], conditions: Conditions, label: str) -> np.ndarray:
    """Milliseconds per call (n,): medians of up to ROUNDS samples, in turn, so that what disturbs one disturbs all.

    On a CPU, samples that another process has interrupted do not count where there are `ENOUGH` others: on a busy
    machine the scheduler's slices are about as long as a sample, so it can be the same network's turn each time. What
    is left of other processes, such as colder caches, no median helps against, and that is said.
    """
    synchronise = torch.cuda.synchronize if conditions.device.type == "cuda" else lambda: None
    with threads(conditions.threads):
        # Three calls to warm up, then three that say roughly what one takes, in seconds.
        once = [min([_sample(run, 1, synchronise)[0] for _ in range(6)][3:]) for run in runners]
        calls = [int(np.clip(SAMPLE / seconds, 1, 10_000)) for seconds in once]
        a_round = sum(max(SAMPLE, seconds) for seconds in once)
        rounds = int(np.clip(PATIENCE / max(a_round, 1e-9), FEWEST_ROUNDS, ROUNDS))
        samples = np.empty((rounds, len(runners), 2))
        for row in progress(samples, label, rounds):
            for number, (run, count) in enumerate(zip(runners, calls, strict=True)):
                row[number] = _sample(run, count, synchronise)
    seconds, worked = samples[..., 0], samples[..., 1]
    own = worked >= OWN * np.maximum(1.0, np.quantile(worked, 0.9, axis=0))
    if conditions.device.type == "cuda":  # the CPU waits for it
        own[:] = True
    if own.mean() < 0.5:
        warn(f"{label}: other processes took the processor away in {1 - own.mean():.0%} of the samples; measure again")
    own |= own.sum(axis=0) < ENOUGH
    return np.array([np.median(seconds[kept, number]) for number, kept in enumerate(own.T)]) * 1e3


def _sample(run: Callable[[], object], count: int, synchronise: Callable[[], None]) -> tuple[float, float]:
    """Seconds per call, over `count` calls, and the processor's time as a share of them, over all threads."""
    synchronise()
    start, worked = time.perf_counter(), time.process_time()
    for _ in range(count):
        run()
    synchronise()
    worked, seconds = time.process_time() - worked, time.perf_counter() - start
    return seconds / count, worked / seconds
