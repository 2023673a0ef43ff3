"""Lets several processes train one supernet, as `torchrun` starts them.

Every process holds all weights and trains the same archs, on its part of each batch. Gradients are averaged once, after
all backwards of a step, and are zero where no subnet reached. Wrappers such as DistributedDataParallel, which average
during each backward, give wrong gradients where the last backward touches only some of the parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from dεps.core.device import best_device
from dεps.core.errors import UserError, is_out_of_memory
from dεps.data.augment import WHOLE, Part

#: longest wait for a process that is alive but busy, for example decoding a file on a slow disk
PATIENCE = timedelta(hours=2)


@contextmanager
def _together() -> Iterator[None]:
    """Turn errors of communication into a `UserError`: they mean that a process is gone."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            "another process of this job has ended or cannot be reached; the same command, with any number of "
            f"processes, goes on from the last checkpoint ({' '.join(str(error).split())[:120]})"
        ) from None


def part(device: torch.device | None = None) -> Part:
    """This process's number among how many; the first call joins the others.

    `device`, by default `best_device()`, decides how they communicate: NCCL between GPUs, else gloo.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return WHOLE
    if not dist.is_initialized():
        backend, own = "gloo", None
        if (device or best_device()).type == "cuda":
            backend, own = "nccl", best_device()
            torch.cuda.set_device(own)
        with _together():
            dist.init_process_group(backend, timeout=PATIENCE, device_id=own)
    return Part(dist.get_rank(), count)


def wait() -> None:
    """Wait until all processes have come here."""
    if part().count > 1:
        with _together():
            dist.barrier()


def leave() -> None:
    """Wait for the others and end the communication, before a process ends."""
    if dist.is_available() and dist.is_initialized():
        wait()
        dist.destroy_process_group()


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, sent as one message."""
    count = part().count
    if count == 1:
        return
    tensors = list(tensors)
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _together():
        dist.all_reduce(flat)
    flat /= count
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def total(count: int, part: Part) -> int:
    """Sum of the processes' counts; `count` itself where there is only one process."""
    if part.count == 1:
        return count
    tensor = torch.tensor(count, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    with _together():
        dist.all_reduce(tensor)
    return int(tensor)
