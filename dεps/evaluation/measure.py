"""Measures many archs: divides them among the processes of a job, and keeps what an interrupted run has finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from dεps.core.console import progress, say
from dεps.core.device import best_device
from dεps.core.errors import UserError
from dεps.core.hashing import digest, file_hash
from dεps.evaluation import parallel
from dεps.evaluation.accuracy import Recalibration
from dεps.spaces.space import Arch
from dεps.workspace.resume import Journal, work_folder
from dεps.workspace.stage import Context, leads

#: archs measured together: layers that they share are computed once, and their results are saved together
TOGETHER = 20


def measure_each(
    context: Context,
    supernet: Path,
    manifest: dict[str, Any],
    images: Recalibration,
    archs: Iterable[Arch],
    measure: Callable[[Sequence[Arch]], list[dict[str, Any]]],
    *,
    last: bool = True,
) -> dict[Arch, dict[str, Any]]:
    """The row (plain data) that `measure` returns for each arch, in a dict by arch.

    Results of an interrupted run are taken over if params, code, weights and images are the same.

    Args:
        context: the stage's instance; names the journal that finished rows are kept in.
        supernet: file of the weights that are measured.
        manifest: the data's manifest, whose hash is part of the journal's name.
        images: training images for BN.
        archs: duplicates are measured once.
        measure: returns one row for each of a few archs, which are neighbours in their layers; a row must depend on
            nothing but its arch and the arguments above.
        last: whether the job's processes have nothing else to do together after this.
    """
    part = parallel.part()
    data, seen = digest(manifest["sha256"]), (len(images.indices), repr(images.augment))
    where = best_device().type
    key = context.work_key(file_hash(supernet), data, seen, torch.__version__, where)
    journal = Journal(work_folder(context.state("resume"), key, context.label, leads()), part.number)
    parallel.wait()
    distinct = {str(arch): arch for arch in archs}
    finished = journal.read()
    left = distinct.keys() - finished.keys()
    parallel.wait()  # before any process writes: all must see the same
    if leads() and len(left) < len(distinct):
        say(f"{context.label}: goes on after {len(distinct) - len(left)} of {len(distinct)} archs")

    def rows(names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        for start in range(0, len(names), TOGETHER):
            some = names[start : start + TOGETHER]
            yield from zip(some, measure([distinct[name] for name in some]), strict=True)

    own = sorted(left)[len(left) * part.number // part.count : len(left) * (part.number + 1) // part.count]
    for name, row in progress(rows(own), context.label, len(own)) if leads() else rows(own):
        journal.add(name, row)
        finished[name] = row
    parallel.wait()
    finished |= journal.read()  # of the other processes
    if last:
        parallel.leave()
    if lost := distinct.keys() - finished.keys():
        raise UserError(f"{journal.folder} has lost what was measured of {len(lost)} archs; run the stage again")
    return {arch: finished[name] for name, arch in distinct.items()}
