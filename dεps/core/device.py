"""Where torch computes, and that it does so reproducibly."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import torch

from dεps.core.errors import UserError


def best_device() -> torch.device:
    """A GPU where there is one: this process's own, where `torchrun` starts several on a machine.

    Raises `UserError` where it starts more than there are GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise UserError(
            f"launch starts {rank + 1} or more processes on a machine with {count} GPUs; expected one a GPU"
        )
    return torch.device("cuda", rank)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there is none."""
    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


#: of glibc's mallopt
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def set_up() -> None:
    """Make torch give the same bits in every run on one machine, and keep the memory that it has once had."""
    _deterministic()
    if sys.platform == "linux":
        _keep_memory()


def _keep_memory() -> None:
    """Never give freed memory back to the system.

    glibc maps each large tensor anew and unmaps it when it is freed, so that every layer of every step pays for fresh
    pages: up to a tenth of a training step on 32-px images, a fifth of an evaluation.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def _deterministic() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Static schedules and fixed reductions in MKL's matrix products, which read this at the first of them. Without it
    # one fit of the predictor in hundreds had other last bits.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    # As use_deterministic_algorithms(True), which imports torch's compiler first: a second of each process's start.
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads memory that it has not written; filling it all first takes an eighth of a training step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue] - a property of the module
    torch.backends.cudnn.benchmark = False
    # Convolutions of float32 would have the mantissa of fp16, unlike those of an exported file.
    torch.backends.cudnn.allow_tf32 = False


def compiled(work: Callable) -> Callable:
    """`work` compiled for tensors of one shape, to the same bits in every run."""
    torch.use_deterministic_algorithms(True)  # tells the compiler too
    return torch.compile(work, dynamic=False)
