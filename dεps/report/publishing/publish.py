"""Publishes seeds, and the study, of an experiment: each is a folder of `reports/published/<experiment>/`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dεps.core.errors import UserError
from dεps.core.files import output_folder
from dεps.core.params import section, selected
from dεps.report.publishing.collect import UnfinishedError, collect
from dεps.report.publishing.seed import PROVENANCE, PUBLISHED, check_one_kind, read_seed, seed_folders
from dεps.report.publishing.study import FOLDER as STUDY_FOLDER
from dεps.report.publishing.study import collect_study, read_study
from dεps.workspace.locks import STATE, exclusive
from dεps.workspace.project import check_code


class Done(NamedTuple):
    """What became of one seed: `new`, `more` (rows were added), `same`, or why it was left out."""

    seed: int
    what: str
    archs: int = 0
    size: int = 0
    #: whether what was trained alone has accuracies on test yet
    complete: bool = True


def publish(
    params: dict[str, Any],
    experiment: str,
    seeds: Collection[int],
    changed: Callable[[Collection[str]], set[str]],
    folder: Path = PUBLISHED,
) -> Iterable[Done]:
    """Write the rows of seeds; without any named, of all selected ones that are finished. Yields what became of each.

    Those that are left out come last. Each seed is complete or untouched, whatever happens. `changed` as for `collect`.

    Raises `UserError` where a named seed is not finished, none is, or rows would be of two kinds.
    """
    section(params, "experiments", experiment)
    check_code()
    there = selected(params, "seeds")
    if unknown := [seed for seed in seeds if seed not in there]:
        raise UserError(f"--seeds: params.yaml does not select {unknown[0]}; it selects {', '.join(map(str, there))}")
    unfinished: list[tuple[int, UnfinishedError]] = []
    with exclusive(STATE / "publish.lock", "publishes"):
        for seed in seeds or there:
            try:
                yield _publish(params, experiment, seed, changed, folder / experiment)
            except UnfinishedError as error:
                if seeds:
                    raise
                unfinished.append((seed, error))
    if len(unfinished) == len(there):
        raise unfinished[0][1]
    yield from (Done(seed, str(error)) for seed, error in unfinished)


def publish_study(
    params: dict[str, Any],
    experiment: str,
    changed: Callable[[Collection[str]], set[str]],
    folder: Path = PUBLISHED,
) -> tuple[bool, int]:
    """Write the finished study of an experiment; returns whether it was not there, and its number of trials.

    It is complete or untouched, whatever happens. `changed` as for `collect`. Raises `UserError` where there is none,
    it is not finished, another one is published, or it is of other data, params or another trunk than the seeds there.
    """
    check_code()
    with exclusive(STATE / "publish.lock", "publishes"):
        new, own = collect_study(params, experiment, changed), folder / experiment
        new.check_fits([read_seed(path) for path in seed_folders(own)])
        place, old = own / STUDY_FOLDER, read_study(own)
        if old and old.files() != new.files():
            raise UserError(f"{place} holds another study; remove the folder to publish this one instead")
        if not old:
            _write(place, new.files())
    return not old, new.trials


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    """Write all files of a folder, or none."""
    with output_folder(place, STATE / "scratch" / "publish") as out:
        for name, content in files.items():
            (out / name).write_bytes(content)


def _publish(
    params: dict[str, Any],
    experiment: str,
    seed: int,
    changed: Callable[[Collection[str]], set[str]],
    folder: Path,
) -> Done:
    new, place = collect(params, experiment, seed, changed), folder / f"seed-{seed}"
    old = read_seed(place) if (place / PROVENANCE).exists() else None
    if old:
        new = old.with_(new)
    for other in seed_folders(folder):
        if other != place:
            check_one_kind([new, read_seed(other)], f"{folder}: what is published and what is here")
    if study := read_study(folder):
        study.check_fits([new])
    files = new.files()
    what = "more" if old else "new"
    if old and all((place / name).read_bytes() == content for name, content in files.items()):
        what = "same"
    else:
        _write(place, files)
    kinds = set(new.archs.kind)
    return Done(seed, what, len(new.archs), sum(map(len, files.values())), "full_model" in kinds)
