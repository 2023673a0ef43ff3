"""Measuring many archs: shared among the processes of a job, and never twice what an interrupted run has finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from dεps import parallel
from dεps.identity import digest
from dεps.progress import progress
from dεps.resume import Journal, file_hash, work_folder, work_key
from dεps.search_space import Arch
from dεps.stage import Context, leads


def measure_each(
    context: Context,
    supernet: Path,
    manifest: dict[str, Any],
    images: int,
    archs: Iterable[Arch],
    measure: Callable[[Arch], dict[str, Any]],
) -> dict[Arch, dict[str, Any]]:
    """What `measure` says of each arch: plain data, a function of the arch and of the other arguments alone.

    Args:
        supernet: file of the weights that are measured.
        manifest: of the data.
        images: for BN recalibration.
    """
    part = parallel.part()
    data = digest(manifest["sha256"])
    key = work_key(context.label, context.seed, file_hash(supernet), data, images, torch.__version__)
    journal = Journal(work_folder(context.state("resume"), key, context.label, leads()), part.number)
    parallel.wait()
    distinct = {str(arch): arch for arch in archs}
    left = sorted(distinct.keys() - journal.read().keys(), key=list(distinct).index)
    parallel.wait()  # before any process writes: all must see the same
    if leads() and len(left) < len(distinct):
        print(f"{context.label}: goes on after {len(distinct) - len(left)} of {len(distinct)} archs")
    own = left[part.number :: part.count]
    for name in progress(own, context.label, len(own)) if leads() else own:
        journal.add(name, measure(distinct[name]))
    parallel.wait()
    rows = journal.read()
    parallel.leave()
    return {arch: rows[name] for name, arch in distinct.items()}
