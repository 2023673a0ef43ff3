"""Where torch computes, and that it does so reproducibly."""

from __future__ import annotations

import os

import torch


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def deterministic() -> None:
    """Make torch give the same bits in every run on one machine."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written; filling it all first takes an eighth of a training step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
