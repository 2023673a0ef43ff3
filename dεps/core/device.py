"""Chooses the device and makes torch reproducible on it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from dεps.core.errors import UserError
from dεps.core.process import kernels


def best_device() -> torch.device:
    """Return this process's own GPU, or the CPU. Raises `UserError` if `torchrun` starts more processes than GPUs."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise UserError(
            f"launch starts {rank + 1} or more processes on a machine with {count} GPUs; expected one a GPU"
        )
    return torch.device("cuda", rank)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def hardware() -> dict[str, str]:
    """Return the kind of `machine` and the version of `torch`, as text.

    The machine is its processor and GPU, and the variables that choose other kernels than the processor's best.
    """
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    chosen = "".join(f"; {name}={text}" for name, text in kernels().items())
    return {"machine": f"{cpu}, {os.cpu_count()} cores{gpu}{chosen}", "torch": torch.__version__}


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads during the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


#: of glibc's mallopt
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def set_up() -> None:
    """Make torch give the same bits in every run on one machine, and make it reuse memory it has freed."""
    _deterministic()
    if sys.platform == "linux":
        _keep_memory()


def _keep_memory() -> None:
    """Keep freed memory: mapping fresh pages for each layer's tensors took up to a fifth of an evaluation."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # other C libraries than glibc have none
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def _deterministic() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Fixes the order of sums in MKL's matrix products; MKL reads it at the first one. Without it the last bits of one
    # fit of the predictor in hundreds differed.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    # As use_deterministic_algorithms(True), which imports torch's compiler first: a second of each process's start.
    torch.set_deterministic_debug_mode("error")
    # No code here reads memory before writing it, and filling new memory takes an eighth of a training step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue] - a property of the module
    torch.backends.cudnn.benchmark = False
    # TF32 has the mantissa of fp16; an exported model computes in full float32.
    torch.backends.cudnn.allow_tf32 = False


def compiled(work: Callable) -> Callable:
    """Compile `work` for tensors of one shape; it gives the same bits in every run."""
    torch.use_deterministic_algorithms(True)  # tells the compiler too
    return torch.compile(work, dynamic=False)
